//! What looks like a secret, as data: names, options of tools, shapes of tokens, each with its reason.
//!
//! Sources: the rules of gitleaks (shapes, names), what npm, git and cargo take out of what they log (passwords in
//! addresses, tokens), manuals of the tools. A row that would blank what is no secret costs readability, a missing row
//! costs a secret: in doubt there is a row, and [`HARMLESS_LAST`] takes back what is only *about* a secret.

/// Names whose value is a secret, in lower case, without `-`, `_` and `.`. A name that ends so counts (`PGPASSWORD`,
/// `-DMY_API_KEY`, `_authToken`), and one that has it further in front, unless its last word says that the value is
/// something else.
pub(super) const NAMES: &[(&str, &str)] = &[
    ("password", "`--password`, PGPASSWORD, AWS and mail tools"),
    ("passwd", "the same, shorter"),
    ("passphrase", "keys of gpg, ssh, wifi"),
    ("passcode", "one-time codes"),
    ("secret", "client secrets of OAuth, shared secrets"),
    ("token", "GITHUB_TOKEN, npm's `_authToken`, CI_JOB_TOKEN"),
    ("apikey", "API_KEY, `-ApiKey` of nuget, `X-Api-Key:`"),
    ("accesskey", "AWS_SECRET_ACCESS_KEY, object stores"),
    ("secretkey", "AWS, Django, Rails"),
    ("secretkeybase", "Rails"),
    ("privatekey", "a key itself; the name of its file is shown"),
    ("signingkey", "the same"),
    ("encryptionkey", "the same"),
    ("accountkey", "connection strings of Azure"),
    ("masterkey", "Rails, vaults"),
    ("sharedkey", "pre-shared keys"),
    ("authkey", "Tailscale, memcached"),
    ("deploykey", "git hosts"),
    ("licensekey", "installers"),
    ("credential", "whatever it is"),
    ("credentials", "the same"),
    ("authorization", "the HTTP header"),
    ("cookie", "a session's"),
    ("storepass", "keytool, jarsigner"),
    ("keypass", "the same"),
    ("sshpass", "SSHPASS of sshpass"),
    ("dbpass", "data bases; `pass` alone is a pass of a compiler"),
    ("userpass", "the same"),
    ("mysqlpwd", "MYSQL_PWD; `pwd` alone is a directory"),
    ("dbpwd", "the same"),
    ("userpwd", "curl's option in libraries"),
];

/// Names that are secrets only if nothing is before or after them: they are parts of too many words.
pub(super) const WHOLE_NAMES: &[(&str, &str)] = &[
    ("auth", "npm's `_auth`, `--auth` of HTTP clients"),
    ("psk", "wifi"),
    ("pwd", "`Pwd=` of connection strings, not the PWD of a shell"),
];

/// Parameters of addresses, besides all of the above.
pub(super) const QUERIES: &[(&str, &str)] = &[
    ("sig", "shared access signatures of Azure"),
    ("signature", "presigned addresses"),
    ("xamzsignature", "presigned addresses of AWS"),
    ("key", "Google's"),
];

/// Last words of a name that is *about* a secret: `KEY_LENGTH`, `--token-file`, `PASSWORD_PROMPT`.
pub(super) const HARMLESS_LAST: &str = "algorithm alg bits bytes cflags class cmd command count dir directory enabled \
    endpoint env expiration expires \
    expiry field file filename format h header helper host id include index length len libs lifetime limit manager \
    max min mode name path pattern plugin policy prompt provider regex required scope scopes service size source \
    stdin support test tests timeout ttl type uri url user username var variable version width";

/// First words of a name that only says whether there is one: `HAVE_TOKEN`, `--with-libsecret=/usr`.
pub(super) const HARMLESS_FIRST: &str = "disable dhave duse denable dwith enable have no use with without";

/// Values that are none.
pub(super) const HARMLESS_VALUES: &[&str] =
    &["", "0", "1", "auto", "false", "no", "none", "null", "off", "on", "true", "yes", super::BLANK];

/// Endings of file names: where a secret is, not what it is.
pub(super) const FILES: &str =
    ".asc .cer .cfg .conf .crt .der .env .gpg .h .ini .jks .json .key .keystore .p12 .pem .pfx .pub .txt .yaml .yml";

/// How an option has its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The next word, or what is behind the option's letters in the same word (`-p x`, `-px`).
    Either,
    /// The next word.
    Next,
    /// The same word, behind it.
    Joined,
    /// As `Either`, and only behind this character: a name stands before it.
    Behind(char),
}

/// An option of certain tools that has no telling name. `after` is a word that must have come before, if not empty:
/// `docker login -p` is a password, `docker run -p` a port.
pub(super) struct Row {
    pub tools: &'static [&'static str],
    pub after: &'static str,
    pub option: &'static str,
    pub how: How,
}

const fn row(tools: &'static [&'static str], after: &'static str, option: &'static str, how: How) -> Row {
    Row { tools, after, option, how }
}

const CONTAINERS: &[&str] = &["docker", "podman", "buildah", "skopeo", "nerdctl", "helm", "oras", "crane", "az", "oc"];
const SQL: &[&str] = &["mysql", "mysqldump", "mysqladmin", "mysqlimport", "mariadb", "mariadb-dump", "mariadb-admin"];
const MONGO: &[&str] = &["mongo", "mongosh", "mongodump", "mongorestore"];

pub(super) const OPTIONS: &[Row] = &[
    row(&["curl"], "", "-u", How::Behind(':')),
    row(&["curl"], "", "-U", How::Behind(':')),
    row(&["curl"], "", "-b", How::Either),
    row(&["curl"], "", "--oauth2-bearer", How::Next),
    row(&["http", "https", "xh", "xhs"], "", "-a", How::Either),
    row(CONTAINERS, "login", "-p", How::Either),
    row(SQL, "", "-p", How::Joined),
    row(MONGO, "", "-p", How::Next),
    row(&["sshpass"], "", "-p", How::Either),
    row(&["openssl", "apksigner", "osslsigncode"], "", "pass:", How::Joined),
    row(&["osslsigncode"], "", "-pass", How::Next),
    row(&["zip", "unzip"], "", "-P", How::Either),
    row(&["7z", "7za", "7zr", "7zz", "rar", "unrar"], "", "-p", How::Joined),
    row(&["rar"], "", "-hp", How::Joined),
    row(&["redis-cli"], "", "-a", How::Next),
    row(&["ldapsearch", "ldapadd", "ldapmodify", "ldapdelete"], "", "-w", How::Either),
    row(&["smbclient"], "", "-U", How::Behind('%')),
    row(&["lftp"], "", "-u", How::Behind(',')),
    row(&["sqlcmd", "mosquitto_pub", "mosquitto_sub"], "", "-P", How::Either),
    row(&["ipmitool"], "", "-P", How::Next),
    row(&["twine"], "", "-p", How::Next),
    row(&["dotnet", "nuget"], "push", "-k", How::Next),
    row(&["xfreerdp", "xfreerdp3"], "", "/p:", How::Joined),
    row(&["signtool"], "", "/p", How::Next),
];

/// Programs whose `-u` and `--user` is a flag, or names no password: `rsync -u host:dir`, `docker run -u root:root`.
pub(super) const NO_PASSWORD_AFTER_U: &str = "buildah chroot cp date diff docker env git id install mv nerdctl patch \
    podman python python3 rsync setpriv \
    sort sudo tar unzip zip";

/// Tokens that are known by themselves: how they begin, how many letters and digits follow at least, and what else may
/// be among them.
pub(super) const SHAPES: &[(&str, usize, &str, &str)] = &[
    ("ghp_", 30, "", "GitHub, personal"),
    ("gho_", 30, "", "GitHub, OAuth"),
    ("ghu_", 30, "", "GitHub, user of an app"),
    ("ghs_", 30, "", "GitHub, app"),
    ("ghr_", 30, "", "GitHub, refresh"),
    ("github_pat_", 22, "_", "GitHub, fine-grained"),
    ("glpat-", 20, "_-.", "GitLab, personal"),
    ("gldt-", 20, "_-", "GitLab, deploy"),
    ("glcbt-", 20, "_-", "GitLab, job"),
    ("glptt-", 20, "_-", "GitLab, trigger"),
    ("glrt-", 20, "_-", "GitLab, runner"),
    ("AKIA", 16, "", "AWS, access key"),
    ("ASIA", 16, "", "AWS, session"),
    ("ABIA", 16, "", "AWS, bearer"),
    ("ACCA", 16, "", "AWS, context"),
    ("xoxa-", 10, "-", "Slack, workspace"),
    ("xoxb-", 10, "-", "Slack, bot"),
    ("xoxe-", 10, "-", "Slack, configuration"),
    ("xoxp-", 10, "-", "Slack, user"),
    ("xoxr-", 10, "-", "Slack, refresh"),
    ("xoxs-", 10, "-", "Slack, session"),
    ("xapp-", 10, "-", "Slack, app"),
    ("hooks.slack.com/services/", 20, "/", "Slack, hook"),
    ("sk_live_", 10, "", "Stripe"),
    ("sk_test_", 10, "", "Stripe"),
    ("rk_live_", 10, "", "Stripe, restricted"),
    ("sk-ant-", 20, "_-", "Anthropic"),
    ("sk-proj-", 20, "_-", "OpenAI"),
    ("AIzaSy", 33, "_-", "Google, API"),
    ("ya29.", 20, "_-", "Google, OAuth"),
    ("GOCSPX-", 20, "_-", "Google, client"),
    ("npm_", 36, "", "npm"),
    ("pypi-AgE", 40, "_-", "PyPI"),
    ("cio", 32, "", "crates.io"),
    ("rubygems_", 48, "", "RubyGems"),
    ("dckr_pat_", 20, "_-", "Docker Hub"),
    ("hf_", 30, "", "Hugging Face"),
    ("hvs.", 20, "_-", "Vault, service"),
    ("hvb.", 20, "_-", "Vault, batch"),
    ("dop_v1_", 40, "", "DigitalOcean"),
    ("SG.", 40, "_-.", "SendGrid"),
    ("shpat_", 32, "", "Shopify"),
    ("dapi", 32, "", "Databricks"),
    ("glsa_", 32, "_", "Grafana"),
    ("lin_api_", 40, "", "Linear"),
    ("AGE-SECRET-KEY-1", 50, "", "age"),
    ("eyJ", 17, "_-.", "a JSON web token"),
];
