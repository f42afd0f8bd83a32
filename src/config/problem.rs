//! The problems of a configuration: collects them (`Report`) and formats them ([`Problems`]).
//!
//! Each is shown with place, cause, the offending line and a hint. A problem is an error, which keeps the file from
//! being used, or a warning. `keys` and `check` decide what is a problem.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

/// The most problems of one file that are kept; further ones are only counted.
const PROBLEMS_MAX: usize = 100;

/// The longest excerpt of a line, in characters.
const EXCERPT_CHARS_MAX: usize = 160;

/// Whether a file with a problem can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used, but probably does not do what its author wants.
    Warning,
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Its place; `None`: it concerns the whole file.
    pub place: Option<Place>,
    /// What is wrong, in lower case without a full stop.
    pub cause: String,
    /// How to fix it.
    pub hint: Option<String>,
}

/// The place of a problem in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The offending line; of a long one the part around the column.
    pub excerpt: String,
    /// The blanks and tabs that align the caret with its column of the excerpt.
    margin: String,
}

/// Every problem of one file, in file order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// The name of the file, as given on the command line.
    pub file: String,
    /// The problems, at most 100.
    pub list: Vec<Problem>,
    /// How many further problems there are.
    pub omitted: usize,
}

impl Problems {
    /// A problem with the file as a whole: missing, unreadable, not text.
    #[must_use]
    pub fn whole_file(file: &str, cause: String, hint: Option<String>) -> Self {
        let problem = Problem { severity: Severity::Error, place: None, cause, hint };
        Self { file: file.to_owned(), list: vec![problem], omitted: 0 }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// The prefix of a cause.
fn label(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "",
        Severity::Warning => "warning: ",
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            match &problem.place {
                Some(place) => place_lines(out, &self.file, place, problem)?,
                None => {
                    write!(out, "{}: {}{}", self.file, label(problem.severity), problem.cause)?;
                    problem.hint.as_ref().map_or(Ok(()), |hint| write!(out, "; {hint}"))?;
                    writeln!(out)?;
                }
            }
        }
        if self.omitted > 0 {
            writeln!(out, "{}: {} more", self.file, self.omitted)?;
        }
        Ok(())
    }
}

/// The three lines of a problem with a place.
fn place_lines(out: &mut fmt::Formatter<'_>, file: &str, place: &Place, problem: &Problem) -> fmt::Result {
    writeln!(out, "{file}:{}:{}: {}{}", place.line, place.column, label(problem.severity), problem.cause)?;
    writeln!(out, "{:>5} | {}", place.line, place.excerpt)?;
    write!(out, "      | {}^", place.margin)?;
    problem.hint.as_ref().map_or(Ok(()), |hint| write!(out, " {hint}"))?;
    writeln!(out)
}

/// Collects the problems of one file while it is read and checked.
#[derive(Debug)]
pub(super) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    found: RefCell<Vec<Found>>,
}

/// A problem with its place as an offset in bytes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    offset: usize,
    severity: Severity,
    cause: String,
    hint: Option<String>,
}

impl<'a> Report<'a> {
    /// An empty report on a file.
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, found: RefCell::new(Vec::new()) }
    }

    /// Adds an error at a span of the file's text, in bytes.
    pub(super) fn add(&self, span: Range<usize>, cause: impl Into<String>, hint: impl Into<String>) {
        self.note(span, cause.into(), Some(hint.into()));
    }

    /// Adds an error that may have no hint.
    pub(super) fn note(&self, span: Range<usize>, cause: String, hint: Option<String>) {
        self.found.borrow_mut().push(Found { offset: span.start, severity: Severity::Error, cause, hint });
    }

    /// Adds a warning at a span of the file's text, in bytes.
    pub(super) fn warn(&self, span: Range<usize>, cause: impl Into<String>, hint: impl Into<String>) {
        let (cause, hint) = (cause.into(), Some(hint.into()));
        self.found.borrow_mut().push(Found { offset: span.start, severity: Severity::Warning, cause, hint });
    }

    /// Whether the file contains this word literally, so that it is not an expanded secret and a hint may show it.
    pub(super) fn shows(&self, word: &str) -> bool {
        self.text.contains(word)
    }

    /// How many errors were found so far.
    pub(super) fn count(&self) -> usize {
        self.found.borrow().iter().filter(|found| found.severity == Severity::Error).count()
    }

    /// The warnings.
    ///
    /// # Errors
    /// All problems, if one of them is an error.
    pub(super) fn finish(self) -> Result<Problems, Problems> {
        let errors = self.count();
        let mut found = self.found.into_inner();
        found.sort();
        found.dedup();
        let omitted = found.len().saturating_sub(PROBLEMS_MAX);
        let list = found
            .into_iter()
            .take(PROBLEMS_MAX)
            .map(|Found { offset, severity, cause, hint }| {
                let place = Some(place(self.text, offset));
                Problem { severity, place, cause, hint }
            })
            .collect();
        let problems = Problems { file: self.file.to_owned(), list, omitted };
        if errors > 0 { Err(problems) } else { Ok(problems) }
    }
}

/// The line, column and excerpt of an offset in bytes; an offset past the end counts as the end.
fn place(text: &str, offset: usize) -> Place {
    let mut rest = offset;
    let mut lines = text.split('\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if rest <= line.len() || lines.peek().is_none() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            let before = line.char_indices().take_while(|(at, _)| *at < rest).count();
            let (excerpt, margin) = excerpt(line, before);
            return Place { line: index + 1, column: before + 1, excerpt, margin };
        }
        rest -= line.len() + 1;
    }
    Place { line: 1, column: 1, excerpt: String::new(), margin: String::new() }
}

/// The part of a line around a column, with control characters replaced, and the margin of its caret.
fn excerpt(line: &str, before: usize) -> (String, String) {
    let skipped =
        if line.chars().count() > EXCERPT_CHARS_MAX { before.saturating_sub(EXCERPT_CHARS_MAX / 2) } else { 0 };
    let shown = line.chars().skip(skipped).take(EXCERPT_CHARS_MAX);
    let plain = |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    let margin = shown.clone().take(before - skipped).map(|c| if c == '\t' { '\t' } else { ' ' });
    let lead = if skipped > 0 { "…" } else { "" };
    let tail = if line.chars().nth(skipped + EXCERPT_CHARS_MAX).is_some() { "…" } else { "" };
    let indent = if skipped > 0 { " " } else { "" };
    (format!("{lead}{}{tail}", shown.map(plain).collect::<String>()), indent.chars().chain(margin).collect())
}

/// `did you mean …?` if one of the known words is similar to this one.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, known).map(|nearest| format!("did you mean \"{nearest}\"?"))
}

/// The known word with the least edit distance to this one, if at most about one letter in three differs.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer words are not compared, because the distance costs the product of both lengths.
    const WORD_BYTES_MAX: usize = 64;
    let most = (word.chars().count() / 3).max(1);
    let candidates = known.into_iter().filter(|known| word.len().max(known.len()) <= WORD_BYTES_MAX);
    let near = candidates.filter(|known| known.chars().count().abs_diff(word.chars().count()) <= most);
    let measured = near.map(|known| (strsim::damerau_levenshtein(word, known), known));
    let (distance, nearest) = measured.min()?;
    (distance <= most && distance < nearest.chars().count()).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_place_line_caret_and_hint() {
        let text = "a = 1\n  split = [ 20, 70 ]\n";
        let report = Report::new("config.toml", text);
        let at = text.find('[').unwrap();
        report.add(at..at + 1, "split adds up to 90 percent", "weights are percent and sum to 100");
        let rendered = report.finish().unwrap_err().to_string();
        assert_eq!(
            rendered,
            "config.toml:2:11: split adds up to 90 percent\n    2 |   split = [ 20, 70 ]\n      |           ^ weights are percent and sum to 100\n"
        );
    }

    #[test]
    fn a_problem_without_a_hint_ends_with_the_caret() {
        let report = Report::new("f", "x");
        report.note(0..1, "no".to_owned(), None);
        assert_eq!(report.finish().unwrap_err().to_string(), "f:1:1: no\n    1 | x\n      | ^\n");
    }

    #[test]
    fn a_warning_says_so_and_refuses_nothing() {
        let report = Report::new("f", "x");
        report.warn(0..1, "route matches nothing", "leave it out");
        assert_eq!(report.count(), 0);
        let rendered = report.finish().unwrap().to_string();
        assert_eq!(rendered, "f:1:1: warning: route matches nothing\n    1 | x\n      | ^ leave it out\n");
    }

    #[test]
    fn warnings_are_shown_among_the_errors() {
        let report = Report::new("f", "ab\ncd");
        report.add(3..4, "wrong", "mend it");
        report.warn(0..1, "odd", "look at it");
        let problems = report.finish().unwrap_err();
        let severities: Vec<_> = problems.list.iter().map(|problem| problem.severity).collect();
        assert_eq!(severities, [Severity::Warning, Severity::Error]);
    }

    #[test]
    fn a_problem_of_the_whole_file_is_one_line() {
        let problems = Problems::whole_file("f", "no such file".to_owned(), Some("name one with -c".to_owned()));
        assert_eq!(problems.to_string(), "f: no such file; name one with -c\n");
    }

    #[test]
    fn problems_come_in_file_order_and_once() {
        let report = Report::new("f", "ab\ncd");
        report.note(3..4, "second".to_owned(), None);
        report.note(0..1, "first".to_owned(), None);
        report.note(3..4, "second".to_owned(), None);
        let problems = report.finish().unwrap_err();
        let causes: Vec<_> = problems.list.iter().map(|problem| problem.cause.as_str()).collect();
        assert_eq!(causes, ["first", "second"]);
    }

    #[test]
    fn the_hundred_and_first_problem_is_only_counted() {
        let text = "x".repeat(150);
        let report = Report::new("f", &text);
        (0..103).for_each(|at| report.note(at..at, "no".to_owned(), None));
        assert!(report.finish().unwrap_err().to_string().ends_with("f: 3 more\n"));
    }

    #[test]
    fn places_count_characters_and_survive_any_offset() {
        for (text, offset, line, column) in [
            ("", 0, 1, 1),
            ("", 9, 1, 1),
            ("ab", 2, 1, 3),
            ("ab\n", 3, 2, 1),
            ("ab\r\ncd", 4, 2, 1),
            ("äö = 1", 4, 1, 3),
            ("ab\ncd", 99, 2, 3),
        ] {
            let place = place(text, offset);
            assert_eq!((place.line, place.column), (line, column), "{text:?} at {offset}");
        }
    }

    #[test]
    fn tabs_keep_the_caret_in_line_and_control_characters_are_replaced() {
        let place = place("\tx\u{1b}[2J", 1);
        assert_eq!((place.excerpt.as_str(), place.margin.as_str()), ("\tx\u{fffd}[2J", "\t"));
    }

    #[test]
    fn a_long_line_is_shown_around_the_column() {
        let line = format!("{}!{}", "a".repeat(500), "b".repeat(500));
        let place = place(&line, 500);
        assert_eq!(place.excerpt.chars().count(), EXCERPT_CHARS_MAX + 2);
        assert_eq!(place.excerpt.chars().nth(place.margin.chars().count()), Some('!'));
    }

    #[test]
    fn only_near_words_are_suggested() {
        for (word, suggestion) in [
            ("balence", Some("did you mean \"balance\"?")),
            ("blaance", Some("did you mean \"balance\"?")),
            ("nmae", Some("did you mean \"name\"?")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(word, ["balance", "name", "x"]).as_deref(), suggestion, "{word}");
        }
    }
}
