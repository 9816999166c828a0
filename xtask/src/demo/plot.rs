//! Plots as SVG.

use std::fmt::Write;

use super::html::escape;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 18.0;

/// Seconds without an entry from which on a log shows an outage; entries come five times a second.
const OUTAGE: f64 = 0.6;

/// Points of a fio log: seconds, and values summed over what is logged for the same moment.
#[must_use]
pub(super) fn points(log: &str) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for line in log.lines() {
        let mut fields = line.split(',').map(str::trim);
        let (Some(Ok(at)), Some(Ok(value))) =
            (fields.next().map(str::parse::<f64>), fields.next().map(str::parse::<f64>))
        else {
            continue;
        };
        points.push((at / 1000.0, value));
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    with_outages(&points)
}

/// fio logs nothing while nothing completes: a line across such a gap would hide it.
fn with_outages(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut filled: Vec<(f64, f64)> = Vec::with_capacity(points.len());
    for &point in points {
        if let Some(&(before, _)) = filled.last()
            && point.0 - before > OUTAGE
        {
            filled.push((before + OUTAGE / 2.0, 0.0));
            filled.push((point.0 - OUTAGE / 2.0, 0.0));
        }
        filled.push(point);
    }
    filled
}

/// A curve over seconds, with the moments of `marks` drawn in.
#[must_use]
pub(super) fn curve(title: &str, points: &[(f64, f64)], marks: &[(f64, &str)]) -> String {
    let last = points.last().map_or(1.0, |point| point.0.max(0.001));
    let highest = points.iter().fold(1.0_f64, |highest, point| highest.max(point.1));
    let x = |seconds: f64| LEFT + seconds / last * (WIDTH - LEFT - 10.0);
    let y = |value: f64| HEIGHT - BOTTOM - value / highest * (HEIGHT - BOTTOM - TOP);
    let mut svg = open(title, HEIGHT);
    for step in 0..=4_u8 {
        let share = f64::from(step) / 4.0;
        let (height, across) = (y(highest * share), x(last * share));
        let _ = write!(
            svg,
            "<line x1='{LEFT}' x2='{WIDTH}' y1='{height:.1}' y2='{height:.1}' stroke='var(--line)'/>\
             <text x='{:.1}' y='{:.1}' text-anchor='end'>{:.0}</text>\
             <text x='{across:.1}' y='{:.1}' text-anchor='middle'>{:.1} s</text>",
            LEFT - 6.0,
            height + 4.0,
            highest * share,
            HEIGHT - 8.0,
            last * share
        );
    }
    let line: String = points.iter().map(|point| format!("{:.1},{:.1} ", x(point.0), y(point.1))).collect();
    let _ = write!(svg, "<polyline points='{line}' fill='none' stroke='var(--ours)' stroke-width='2'/>");
    for (at, label) in marks {
        let across = x(at.clamp(0.0, last));
        let _ = write!(
            svg,
            "<line x1='{across:.1}' x2='{across:.1}' y1='{TOP}' y2='{:.1}' stroke='var(--bad)' \
             stroke-dasharray='4 3'/><text x='{:.1}' y='{:.1}'>{}</text>",
            HEIGHT - BOTTOM,
            across + 4.0,
            TOP - 4.0,
            escape(label)
        );
    }
    svg.push_str("</svg></figure>");
    svg
}

/// Pairs of bars: ours and the peer's.
#[must_use]
pub(super) fn bars(title: &str, rows: &[(String, f64, f64, String)]) -> String {
    let highest = rows.iter().fold(f64::MIN_POSITIVE, |highest, row| highest.max(row.1).max(row.2));
    let mut svg = String::new();
    let mut top = 6.0;
    for (name, ours, peer, unit) in rows {
        let _ = write!(svg, "<text x='0' y='{:.1}'>{}</text>", top + 22.0, escape(name));
        for (value, colour, who, offset) in [(*ours, "--ours", "ours", 0.0), (*peer, "--peer", "Linux", 18.0)]
        {
            let length = (value / highest * (WIDTH - 420.0)).max(1.0);
            let _ = write!(
                svg,
                "<rect x='200' y='{:.1}' width='{length:.1}' height='15' fill='var({colour})'/>\
                 <text x='{:.1}' y='{:.1}'>{value:.0} {} {who}</text>",
                top + offset,
                206.0 + length,
                top + offset + 12.0,
                escape(unit)
            );
        }
        top += 46.0;
    }
    format!("{}{svg}</svg></figure>", open(title, top))
}

fn open(title: &str, height: f64) -> String {
    format!(
        "<figure><figcaption>{}</figcaption><svg viewBox='0 0 {WIDTH} {height:.0}' role='img'>",
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_read_in_order_and_junk_is_left_out() {
        let points = points("400, 20, 1, 4096, 0\n200, 10, 1, 4096, 0\nbroken\n1,x\n");
        assert_eq!(points, [(0.2, 10.0), (0.4, 20.0)]);
    }

    #[test]
    fn a_gap_is_an_outage() {
        let points = points("200, 10\n400, 10\n3000, 20\n");
        assert_eq!(points.len(), 5);
        assert!(points.iter().filter(|point| point.0 > 0.5 && point.0 < 2.9).all(|point| point.1 == 0.0));
    }

    #[test]
    fn empty_data_still_makes_a_finite_plot() {
        let svg = curve("t", &[], &[(3.0, "kill")]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        let svg = bars("t", &[("a".to_owned(), 0.0, 0.0, String::new())]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
