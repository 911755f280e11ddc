//! The page: tables, and a plot of each figure.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use plotters::prelude::{
    BLACK, Color, DrawingArea, IntoDrawingArea, PathElement, RGBColor, Rectangle, SVGBackend, Text,
    TextStyle, WHITE,
};
use plotters::style::IntoFont;

use super::summary::Summary;
use super::table::{figures, short, subjects, values};
use super::{Host, Section};

/// Sizes in pixels.
const WIDTH: i32 = 460;
const LEFT: i32 = 96;
const RIGHT: i32 = 84;
const TOP: i32 = 30;
const BAR: i32 = 24;

const STYLE: &str = "body{font:15px sans-serif;max-width:1500px;margin:2em auto;padding:0 1em}\
    table{border-collapse:collapse}td,th{border-bottom:1px solid #ccc;padding:.2em .7em;text-align:right}\
    td:first-child,th:first-child{text-align:left}.no{color:#b00020}.yes{color:#00701a}\
    pre{background:#f4f4f4;padding:1em;overflow:auto}.plots{display:flex;flex-wrap:wrap;gap:1em}";

/// The whole page as HTML with nothing outside of it.
pub fn page(host: &Host, sections: &[Section]) -> Result<String> {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>vfio-user-ixgbe: benchmarks</title>\
         <style>{STYLE}</style></head><body>\n<h1>vfio-user-ixgbe: benchmarks</h1>\n<p>{}</p>\n<p>Median (least to \
         greatest). <i>Reach</i> is what our NIC is to reach, then its median as a multiple of that. A number after \
         the value of another is how many times that ours is.</p>\n",
        escape(&host.to_string())
    );
    for section in sections {
        let summaries = section.summaries();
        write!(
            page,
            "<h2>{}</h2>\n<p><code>{}</code></p>\n{}<div class=\"plots\">\n",
            escape(section.title),
            escape(&section.command),
            table(&summaries)
        )?;
        for (figure, unit) in figures(&summaries) {
            let row: Vec<&Summary> = summaries.iter().filter(|s| s.figure == figure).collect();
            page.push_str(&plot(&format!("{figure}, {unit}"), section.ours, &row)?);
            page.push('\n');
        }
        page.push_str("</div>\n");
        for note in &section.notes {
            writeln!(page, "<pre>{}</pre>", escape(note))?;
        }
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

fn table(summaries: &[Summary]) -> String {
    let subjects = subjects(summaries);
    let mut text = "<table><tr><th>figure</th><th>unit</th>".to_owned();
    for (index, subject) in subjects.iter().enumerate() {
        text.push_str(&format!("<th>{}</th>", escape(subject)));
        if index == 0 {
            text.push_str("<th>reach</th>");
        }
    }
    text.push_str("</tr>\n");
    for (figure, unit) in figures(summaries) {
        text.push_str(&format!(
            "<tr><td>{}</td><td>{}</td>",
            escape(figure),
            escape(unit)
        ));
        let find = |subject: &str| {
            summaries
                .iter()
                .find(|s| s.figure == figure && s.subject == subject)
        };
        let ours = subjects.first().and_then(|subject| find(subject));
        for (index, subject) in subjects.iter().enumerate() {
            let cell = find(subject).map_or("-".to_owned(), |summary| {
                let ratio = ours
                    .filter(|_| index > 0)
                    .map(|ours| format!(" &nbsp;{:.2}", ours.median / summary.median));
                values(summary) + &ratio.unwrap_or_default()
            });
            text.push_str(&format!("<td>{cell}</td>"));
            if index == 0 {
                let reach = ours.and_then(|ours| ours.reach);
                text.push_str(&reach.map_or("<td></td>".to_owned(), |reach| {
                    let class = if reach.reached { "yes" } else { "no" };
                    format!("<td class=\"{class}\">{}</td>", escape(&reach.to_string()))
                }));
            }
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</table>\n");
    text
}

/// A bar for each subject, with its range, and a line at what is to be reached.
fn plot(title: &str, ours: &str, row: &[&Summary]) -> Result<String> {
    let bars = i32::try_from(row.len())?;
    let height = TOP + bars * BAR + 12;
    let reach = row.iter().find_map(|summary| summary.reach);
    let greatest = row
        .iter()
        .map(|summary| summary.max)
        .chain(reach.map(|reach| reach.value))
        .fold(0.0, f64::max);
    let scale = f64::from(WIDTH - LEFT - RIGHT) / if greatest > 0.0 { greatest } else { 1.0 };
    let x = |value: f64| LEFT + pixels(value * scale);
    let mut svg = String::new();
    {
        let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        text(&area, title, (8, 8))?;
        for (summary, nth) in row.iter().zip(0..) {
            let top = TOP + nth * BAR;
            let colour = if summary.subject == ours {
                RGBColor(0x1f, 0x77, 0xb4)
            } else {
                RGBColor(0xb0, 0xb8, 0xc0)
            };
            text(&area, summary.subject, (8, top + 4))?;
            let corners = [
                (LEFT, top + 3),
                (x(summary.median).max(LEFT + 1), top + BAR - 5),
            ];
            area.draw(&Rectangle::new(corners, colour.filled()))
                .map_err(failed)?;
            let middle = top + BAR / 2 - 1;
            let range = [(x(summary.min), middle), (x(summary.max), middle)];
            area.draw(&PathElement::new(range, BLACK.stroke_width(2)))
                .map_err(failed)?;
            let end = x(summary.max.max(summary.median)) + 6;
            text(&area, &short(summary.median), (end, top + 4))?;
        }
        if let Some(reach) = reach {
            let line = [(x(reach.value), TOP - 4), (x(reach.value), height - 8)];
            let red = RGBColor(0xb0, 0x00, 0x20);
            area.draw(&PathElement::new(line, red.stroke_width(2)))
                .map_err(failed)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn text(area: &Area<'_>, text: &str, at: (i32, i32)) -> Result<()> {
    let style = TextStyle::from(("sans-serif", 16).into_font());
    area.draw(&Text::new(text.to_owned(), at, style))
        .map_err(failed)
}

fn failed<E: std::fmt::Display>(error: E) -> anyhow::Error {
    anyhow!("cannot draw a plot: {error}")
}

/// A length on the page.
#[expect(
    clippy::cast_possible_truncation,
    reason = "scaled to the width of a plot"
)]
fn pixels(length: f64) -> i32 {
    length.clamp(0.0, f64::from(WIDTH)) as i32
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::goal::Goal;
    use super::super::summary::Sample;
    use super::*;

    fn section() -> Section {
        let sample = |subject, value| Sample {
            figure: "rx_1514".to_owned(),
            subject,
            unit: "Gbit/s",
            value,
        };
        Section {
            name: "wire",
            ours: "ixgbe",
            title: "Wire & more",
            command: "cargo xtask bench wire".to_owned(),
            samples: vec![sample("ixgbe", 30.0), sample("memcpy", 195.0)],
            goals: |_| vec![Goal::at_least(100.0)],
            notes: vec!["a < b".to_owned()],
        }
    }

    #[test]
    fn the_page_has_a_plot_for_each_figure_with_values_and_what_is_to_be_reached() {
        let page = page(&Host::default(), &[section()]).unwrap();

        assert_eq!(page.matches("<svg").count(), 1);
        assert!(page.contains("rx_1514, Gbit/s"), "{page}");
        assert!(page.contains("&gt;= 100 0.30 NO"), "{page}");
        assert!(page.contains("a &lt; b") && page.contains("Wire &amp; more"));
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = page(&Host::default(), &[section()]).unwrap();

        assert!(!page.contains("src=") && !page.contains("href="), "{page}");
    }
}
