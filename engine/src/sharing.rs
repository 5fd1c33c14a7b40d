//! `[remote]`: where results are shared with other machines, and which go there.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;

/// Settings of the remote cache.
#[derive(Clone, Debug, Default)]
pub struct Sharing {
    /// Its address; `None`: there is none.
    pub cache: Option<String>,
    pub upload: Option<Upload>,
    /// Sent with each call. Their values are nobody's business.
    pub headers: BTreeMap<String, String>,
    /// How long a run waits at its end for what is still to be sent, seconds.
    pub wait: Option<u64>,
}

/// Whose results are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upload {
    Never,
    /// Those of a CI system's jobs.
    Ci,
    Always,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    cache: Option<String>,
    upload: Option<Upload>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    wait: Option<crate::values::Age>,
}

/// A setting of a variable that it cannot have.
#[derive(Debug, thiserror::Error)]
#[error("`{value}` is no value for {name}: write {form}")]
pub struct NoSetting {
    name: &'static str,
    value: String,
    form: &'static str,
}

type Note<'a> = &'a mut dyn FnMut(&str, String, &str);

impl Sharing {
    pub(crate) fn file(&mut self, s: Section, from: &str, note: Note<'_>) {
        if let Some(address) = s.cache {
            note("remote.cache", address.clone(), from);
            self.cache = Some(address);
        }
        if let Some(upload) = s.upload {
            note("remote.upload", format!("{upload:?}").to_lowercase(), from);
            self.upload = Some(upload);
        }
        if !s.headers.is_empty() {
            note("remote.headers", names(&s.headers), from);
            self.headers.extend(s.headers);
        }
        if let Some(wait) = s.wait {
            note("remote.wait", format!("{} s", wait.0), from);
            self.wait = Some(wait.0);
        }
    }

    pub(crate) fn variables(
        &mut self,
        var: impl Fn(&str) -> Option<OsString>,
        note: Note<'_>,
    ) -> Result<(), NoSetting> {
        let var = |name| var(name).map(|v| v.to_string_lossy().into_owned());
        let wrong = |name, value: &str, form| NoSetting { name, value: value.to_owned(), form };
        if let Some(address) = var("XL_REMOTE_CACHE") {
            note("remote.cache", address.clone(), "XL_REMOTE_CACHE");
            self.cache = Some(address);
        }
        if let Some(text) = var("XL_REMOTE_UPLOAD").filter(|t| !t.is_empty()) {
            self.upload = Some(match text.as_str() {
                "never" => Upload::Never,
                "ci" => Upload::Ci,
                "always" => Upload::Always,
                _ => return Err(wrong("XL_REMOTE_UPLOAD", &text, "never, ci or always")),
            });
            note("remote.upload", text, "XL_REMOTE_UPLOAD");
        }
        if let Some(text) = var("XL_REMOTE_HEADERS") {
            for line in text.split(['\n', ',']).map(str::trim).filter(|l| !l.is_empty()) {
                // Not the text itself: it may be a secret.
                let (name, value) = line
                    .split_once('=')
                    .ok_or_else(|| wrong("XL_REMOTE_HEADERS", "…", "name=value, and commas or line ends between"))?;
                self.headers.insert(name.trim().to_owned(), value.trim().to_owned());
            }
            note("remote.headers", names(&self.headers), "XL_REMOTE_HEADERS");
        }
        if let Some(text) = var("XL_REMOTE_WAIT").filter(|t| !t.is_empty()) {
            let wait = toml::Value::String(text.clone()).try_into::<crate::values::Age>();
            self.wait = Some(wait.map_err(|_| wrong("XL_REMOTE_WAIT", &text, "a time, as in 30s"))?.0);
            note("remote.wait", text, "XL_REMOTE_WAIT");
        }
        Ok(())
    }
}

/// What may be shown of headers.
fn names(headers: &BTreeMap<String, String>) -> String {
    headers.keys().map(|n| format!("{n}: …")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_win_and_no_value_of_a_header_is_told() {
        let section: Section =
            toml::from_str("cache = 'grpc://a'\nupload = 'ci'\nwait = '5s'\nheaders = { key = 'secret1' }").unwrap();
        let mut told = Vec::new();
        let mut note = |k: &str, v: String, from: &str| told.push(format!("{k} {v} {from}"));
        let mut s = Sharing::default();
        s.file(section, "xl.toml", &mut note);
        let var = |n: &str| match n {
            "XL_REMOTE_UPLOAD" => Some("always".into()),
            "XL_REMOTE_HEADERS" => Some("key=secret2, other = secret3".into()),
            _ => None,
        };
        s.variables(var, &mut note).unwrap();
        assert_eq!((s.cache.as_deref(), s.upload, s.wait), (Some("grpc://a"), Some(Upload::Always), Some(5)));
        assert_eq!(s.headers.values().collect::<Vec<_>>(), ["secret2", "secret3"]);
        assert!(!told.concat().contains("secret"), "{told:?}");
        let bad = |name: &'static str, value: &'static str| {
            let var = move |n: &str| (n == name).then(|| value.into());
            Sharing::default().variables(var, &mut |_, _, _| ()).unwrap_err().to_string()
        };
        assert!(!bad("XL_REMOTE_HEADERS", "secret").contains("secret"));
        assert!(bad("XL_REMOTE_UPLOAD", "yes").contains("never, ci or always"));
        assert!(bad("XL_REMOTE_WAIT", "5").contains("30s"));
    }
}
