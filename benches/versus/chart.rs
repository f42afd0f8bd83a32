//! Draws the chart as self-contained SVG: for each workload a group of bars, one per proxy.
//!
//! Each group has its own scale, because a hit of 1 KiB and a body of 10 MiB are not comparable.

use std::fmt::Write as _;

use crate::figures::text::number;
use crate::findings::ComparisonReport;
use crate::peers::Peer;
use crate::report::columns;

const WIDTH: usize = 760;
/// The start of the bars, after the names.
const LEFT: usize = 150;
/// The longest bar; its figure follows.
const BAR: f64 = 420.0;
const BAR_HEIGHT: usize = 16;
const STEP: usize = 20;
const GAP: usize = 34;

struct Bar {
    peer: Peer,
    median: f64,
    least: f64,
    most: f64,
}

/// The chart of a run.
pub(crate) fn chart(title: &str, findings: &ComparisonReport) -> String {
    let peers = columns(findings);
    let mut y = 58;
    let mut body = String::new();
    for row in &findings.rows {
        let bars = peers.iter().filter_map(|peer| {
            let cpu = row.spread(*peer, |sample| sample.cpu_us)?;
            Some(Bar { peer: *peer, median: cpu.median, least: cpu.least, most: cpu.most })
        });
        let heading = format!("{}. {}, µs of processor time a request", row.work.letter(), row.work.title());
        y = group(&mut body, y, &heading, &bars.collect::<Vec<_>>());
    }
    let bars = findings.idle.iter().filter_map(|(peer, kib)| {
        let kib = *kib.as_ref().ok()?;
        Some(Bar { peer: *peer, median: kib, least: kib, most: kib })
    });
    y = group(&mut body, y, "i. KiB of memory for an idle connection", &bars.collect::<Vec<_>>());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" viewBox=\"0 0 {WIDTH} {y}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"16\" font-weight=\"bold\">{}</text>\n\
         <text x=\"16\" y=\"42\" fill=\"#666666\">medians; the thin line spans all rounds; less is better</text>\n\
         {body}</svg>\n",
        escaped(title)
    )
}

/// Draws a group at `y`; returns the position of the next. A group without bars takes no space.
fn group(body: &mut String, y: usize, heading: &str, bars: &[Bar]) -> usize {
    let longest = bars.iter().map(|bar| bar.most).fold(0.0, f64::max);
    if longest <= 0.0 {
        return y;
    }
    let heading = escaped(heading);
    let mut put = |element: String| {
        let _infallible = writeln!(body, "{element}");
    };
    put(format!("<text x=\"16\" y=\"{}\" font-weight=\"bold\">{heading}</text>", y + 14));
    let top = y + 22;
    for (place, bar) in bars.iter().enumerate() {
        let at = top + place * STEP;
        let (text_y, line_y) = (at + 12, at + BAR_HEIGHT / 2);
        let length = |value: f64| value / longest * BAR;
        let (from, to) = (LEFT as f64 + length(bar.least), LEFT as f64 + length(bar.most));
        let colour = if bar.peer == Peer::Forebay { "#1f6feb" } else { "#b6bfca" };
        put(format!("<text x=\"{}\" y=\"{text_y}\" text-anchor=\"end\">{}</text>", LEFT - 8, bar.peer.name()));
        put(format!(
            "<rect x=\"{LEFT}\" y=\"{at}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>",
            length(bar.median)
        ));
        put(format!("<path d=\"M{from:.1} {line_y}H{to:.1}\" stroke=\"#333333\" stroke-width=\"1.5\"/>"));
        put(format!("<text x=\"{:.1}\" y=\"{text_y}\">{}</text>", to + 8.0, number(bar.median)));
    }
    top + bars.len() * STEP + GAP - STEP
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
