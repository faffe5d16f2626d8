//! The figures as a plot: a panel for each of three questions, a bar for each engine, a mark at the floor.

use std::fmt::Write;

use kemi_benches::route::ENGINES;

use crate::report::{Group, Report};

/// The colours of a plot.
pub(crate) struct Theme {
    pub(crate) name: &'static str,
    background: &'static str,
    text: &'static str,
    dim: &'static str,
    bar: &'static str,
    floor: &'static str,
}

pub(crate) const LIGHT: Theme =
    Theme { name: "light", background: "#ffffff", text: "#1f2328", dim: "#59636e", bar: "#0969da", floor: "#bc4c00" };

pub(crate) const DARK: Theme =
    Theme { name: "dark", background: "#0d1117", text: "#f0f6fc", dim: "#9198a1", bar: "#4493f8", floor: "#f0883e" };

const WIDTH: f64 = 860.0;
const LEFT: f64 = 90.0;
/// Where bars end at most; their figures stand behind.
const RIGHT: f64 = 690.0;
const BAR: f64 = 16.0;
const LINE: f64 = 24.0;
const TITLE: f64 = 44.0;

/// A question with an answer of each engine.
struct Panel {
    title: &'static str,
    floor: &'static str,
    /// Engine, nanoseconds, times the floor.
    bars: Vec<(&'static str, f64, f64)>,
}

/// Draws a report.
pub(crate) fn svg(report: &Report, theme: &Theme) -> String {
    let panels = panels(report);
    let height = panels.iter().map(|panel| TITLE + panel.bars.len() as f64 * LINE).sum::<f64>() + 46.0;
    let mut svg = String::new();
    let Theme { background, text, .. } = theme;
    let font = "font-family=\"system-ui, -apple-system, 'Segoe UI', sans-serif\" font-size=\"13\"";
    push(
        &mut svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" {font} fill=\"{text}\" role=\"img\" \
         aria-label=\"CPU time of calls and routes, by engine\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"{background}\"/>\n"
        ),
    );
    let mut y = 0.0;
    for panel in &panels {
        draw(&mut svg, panel, theme, y);
        y += TITLE + panel.bars.len() as f64 * LINE;
    }
    let Report { date, cpu, .. } = report;
    let dim = theme.dim;
    push(
        &mut svg,
        format_args!(
            "<text x=\"{LEFT}\" y=\"{:.0}\" fill=\"{dim}\" font-size=\"11\">{date}, {}. CPU time, the least of many \
         samples taken in turns.</text>\n</svg>\n",
            y + 30.0,
            escape(cpu)
        ),
    );
    svg
}

fn panels(report: &Report) -> Vec<Panel> {
    let means = |group| {
        let bar = |engine| report.mean(group, engine).map(|(ns, ratio)| (engine, ns, ratio));
        ENGINES.into_iter().filter_map(bar).collect()
    };
    let call = |engine| {
        let figure = report.of(Group::Route, engine).next()?;
        Some((engine, figure.ns, figure.ratio?))
    };
    let panels = [
        Panel {
            title: "Script calls a native function, mean of eight signatures",
            floor: "the same function bound by hand",
            bars: means(Group::Native),
        },
        Panel {
            title: "Host calls a function of the script, mean of three",
            floor: "the interpreter's raw protected call",
            bars: means(Group::Host),
        },
        Panel {
            title: "An INVITE–BYE call through the whole route, six messages, without the network",
            floor: "the route in Rust",
            bars: ENGINES.into_iter().filter_map(call).collect(),
        },
    ];
    panels.into_iter().filter(|panel| !panel.bars.is_empty()).collect()
}

fn draw(svg: &mut String, panel: &Panel, theme: &Theme, top: f64) {
    let Panel { title, floor, bars } = panel;
    let Theme { dim, bar: colour, floor: mark, .. } = theme;
    let most = bars.iter().map(|(_, ns, ratio)| ns.max(ns / ratio)).fold(1.0, f64::max);
    let scale = (RIGHT - LEFT) / most;
    push(
        svg,
        format_args!(
            "<text x=\"{LEFT}\" y=\"{:.0}\" font-weight=\"600\">{title}</text>\
         <text x=\"{:.0}\" y=\"{:.0}\" fill=\"{mark}\" font-size=\"11\" text-anchor=\"end\">| {floor}</text>\n",
            top + 32.0,
            WIDTH - 16.0,
            top + 32.0
        ),
    );
    for (index, (engine, ns, ratio)) in bars.iter().enumerate() {
        let y = top + TITLE + index as f64 * LINE;
        let (end, floor) = (ns * scale, LEFT + ns / ratio * scale);
        push(
            svg,
            format_args!(
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{engine}</text>\
             <rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{end:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>\
             <rect x=\"{floor:.1}\" y=\"{:.0}\" width=\"2.5\" height=\"{}\" fill=\"{mark}\"/>\
             <text x=\"{:.1}\" y=\"{:.0}\">{}<tspan fill=\"{dim}\">&#160;· {ratio:.2} ×</tspan></text>\n",
                LEFT - 8.0,
                y + 12.5,
                y - 2.0,
                BAR + 4.0,
                LEFT + end.max(ns / ratio * scale) + 8.0,
                y + 12.5,
                duration(*ns)
            ),
        );
    }
}

fn duration(ns: f64) -> String {
    if ns < 10_000.0 { format!("{ns:.0} ns") } else { format!("{:.1} µs", ns / 1e3) }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn push(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = svg.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Figure;

    #[test]
    fn a_bar_is_as_long_as_its_figure_and_the_floor_is_marked() {
        let figure = |engine, ns, floor| Figure::new(Group::Route, "INVITE–BYE call", engine, ns, Some(floor));
        let report = Report {
            date: "2026-11-21".to_owned(),
            cpu: "A & B".to_owned(),
            route: String::new(),
            figures: vec![figure("rust", 20_000.0, 20_000.0), figure("lua", 40_000.0, 20_000.0)],
            failures: Vec::new(),
        };
        let svg = svg(&report, &DARK);
        assert!(svg.contains("width=\"300.0\"") && svg.contains("width=\"600.0\""), "{svg}");
        assert_eq!(svg.matches("<rect x=\"390.0\"").count(), 2, "the floor: {svg}");
        assert!(svg.contains("A &amp; B") && svg.contains("40.0 µs") && svg.contains("2.00 ×"), "{svg}");
    }
}
