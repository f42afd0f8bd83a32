//! Formats metrics for Prometheus: text exposition format 0.0.4.
//!
//! The caller provides names and values.

use std::fmt::Write;

/// The `Content-Type` of a page.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The type of a metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only increases, until a restart. Its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many values were at most as large as each of some bounds.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    /// An integer. Prometheus reads it as a 64-bit float, so it is rounded above 2⁵³.
    Whole(u64),
    /// Any number, such as seconds.
    Real(f64),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

/// A page of metrics.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    /// An empty page.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Begins a family: a name that is unique on the page, with letters, digits, `_` and `:`, and a line of help. A
    /// family without samples is valid.
    pub(crate) fn family(&mut self, kind: Kind, name: &'static str, help: &str) -> Family<'_> {
        debug_assert!(is_name(name), "{name} is no name of a metric");
        let _ = write!(self.text, "# HELP {name} ");
        escape(help, false, &mut self.text);
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "\n# TYPE {name} {}", kind.as_str());
        Family { text: &mut self.text, name }
    }

    /// A family with one value and no labels.
    pub(crate) fn single(&mut self, kind: Kind, name: &'static str, help: &str, value: impl Into<Value>) {
        self.family(kind, name, help).sample(&[], value);
    }

    /// The whole page.
    #[must_use]
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

/// A family to which samples are added.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Family<'_> {
    /// Adds a sample. The labels must be unique within the family. Label names have letters, digits and `_`; values may
    /// be any text.
    pub(crate) fn sample(&mut self, labels: &[(&'static str, &str)], value: impl Into<Value>) -> &mut Self {
        self.line("", labels, value.into());
        self
    }

    /// Adds a histogram: the count of values up to each bound, which ascends, their sum, and their count.
    pub(crate) fn histogram(
        &mut self,
        labels: &[(&'static str, &str)],
        buckets: &[(f64, u64)],
        sum: f64,
        count: u64,
    ) -> &mut Self {
        let mut bound = String::new();
        for (upto, values) in buckets.iter().copied().chain([(f64::INFINITY, count)]) {
            bound.clear();
            write_value(&mut bound, Value::Real(upto));
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.line("_bucket", &labels, Value::Whole(values));
        }
        self.line("_sum", labels, Value::Real(sum));
        self.line("_count", labels, Value::Whole(count));
        self
    }

    /// Writes one line; `suffix` distinguishes the lines of a histogram.
    fn line(&mut self, suffix: &str, labels: &[(&'static str, &str)], value: Value) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (index, (name, value)) in labels.iter().enumerate() {
            debug_assert!(is_name(name) && !name.contains(':'), "{name} is no name of a label");
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(value, true, self.text);
            self.text.push('"');
        }
        self.text.push_str(if labels.is_empty() { " " } else { "} " });
        write_value(self.text, value);
        self.text.push('\n');
    }
}

fn write_value(text: &mut String, value: Value) {
    let _ = match value {
        Value::Whole(number) => write!(text, "{number}"),
        Value::Real(number) if number.is_nan() => write!(text, "NaN"),
        Value::Real(f64::INFINITY) => write!(text, "+Inf"),
        Value::Real(f64::NEG_INFINITY) => write!(text, "-Inf"),
        Value::Real(number) => write!(text, "{number}"),
    };
}

/// Escapes backslashes and line feeds, and quotes in label values.
fn escape(text: &str, quotes: bool, into: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '"' if quotes => into.push_str("\\\""),
            _ => into.push(c),
        }
    }
}

/// Whether this is a valid metric name.
fn is_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':');
    plain && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_reads_as_prometheus_wants_it() {
        let mut page = Page::new();
        page.family(Kind::Counter, "forebay_requests_total", "Requests finished.")
            .sample(&[("route", "a"), ("status", "200")], 7)
            .sample(&[("route", "b"), ("status", "404")], 0);
        page.single(Kind::Gauge, "forebay_age_seconds", "The oldest.", 1.5);
        page.family(Kind::Gauge, "forebay_nothing", "No sample.");
        let expected = "# HELP forebay_requests_total Requests finished.\n\
                        # TYPE forebay_requests_total counter\n\
                        forebay_requests_total{route=\"a\",status=\"200\"} 7\n\
                        forebay_requests_total{route=\"b\",status=\"404\"} 0\n\
                        # HELP forebay_age_seconds The oldest.\n\
                        # TYPE forebay_age_seconds gauge\n\
                        forebay_age_seconds 1.5\n\
                        # HELP forebay_nothing No sample.\n\
                        # TYPE forebay_nothing gauge\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn a_histogram_has_a_line_for_each_bound_and_its_sum_and_count() {
        let mut page = Page::new();
        let buckets = [(0.005, 2), (0.5, 3)];
        page.family(Kind::Histogram, "forebay_x_seconds", "Time.").histogram(&[("route", "a")], &buckets, 7.25, 4);
        let expected = "# HELP forebay_x_seconds Time.\n\
                        # TYPE forebay_x_seconds histogram\n\
                        forebay_x_seconds_bucket{route=\"a\",le=\"0.005\"} 2\n\
                        forebay_x_seconds_bucket{route=\"a\",le=\"0.5\"} 3\n\
                        forebay_x_seconds_bucket{route=\"a\",le=\"+Inf\"} 4\n\
                        forebay_x_seconds_sum{route=\"a\"} 7.25\n\
                        forebay_x_seconds_count{route=\"a\"} 4\n";
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn what_would_break_a_line_is_escaped() {
        let mut page = Page::new();
        page.family(Kind::Gauge, "x", "a\\b\n\"c\"").sample(&[("l", "a\\b\n\"c\"é")], 1);
        assert_eq!(page.finish(), "# HELP x a\\\\b\\n\"c\"\n# TYPE x gauge\nx{l=\"a\\\\b\\n\\\"c\\\"é\"} 1\n");
    }

    #[test]
    fn numbers_that_are_none_have_words() {
        for (value, expected) in [
            (Value::Whole(u64::MAX), "18446744073709551615"),
            (Value::Real(0.1), "0.1"),
            (Value::Real(f64::NAN), "NaN"),
            (Value::Real(f64::INFINITY), "+Inf"),
            (Value::Real(f64::NEG_INFINITY), "-Inf"),
        ] {
            let mut text = String::new();
            write_value(&mut text, value);
            assert_eq!(text, expected);
        }
    }

    proptest! {
        #[test]
        fn a_sample_is_one_line_whatever_its_labels_hold(value in "[^\u{1}]{0,40}") {
            let mut page = Page::new();
            page.family(Kind::Gauge, "x", &value).sample(&[("l", &value)], 1);
            let text = page.finish();
            prop_assert_eq!(text.matches('\n').count(), 3);
            let line = text.lines().last().unwrap_or_default();
            let inner = line.strip_prefix("x{l=\"").and_then(|rest| rest.strip_suffix("\"} 1")).unwrap();
            let read = inner.replace("\\\\", "\u{1}").replace("\\\"", "\"").replace("\\n", "\n").replace('\u{1}', "\\");
            prop_assert_eq!(read, value);
        }
    }
}
