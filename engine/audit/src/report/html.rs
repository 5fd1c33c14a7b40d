//! The report as one page that needs nothing else: data, style and script are inside.
//!
//! The page itself is `page.html`, written by hand and without a framework; it gets the JSON form of the report. What a
//! browser shows is set as text, never as markup, so no file name can do harm.

use super::Report;

const PAGE: &str = include_str!("page.html");

/// The page.
pub fn html(r: &Report) -> String {
    let data = serde_json::to_string(r).expect("a report is text, numbers and lists");
    PAGE.replacen("\"@REPORT@\"", &inert(&data), 1)
}

/// JSON that cannot end the script element it stands in.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}
