//! The storm's report: one HTML page with its plots drawn in it, which needs nothing else to be looked at.

use std::fmt::Write as _;

use tidegate_simulator::storm::Card;

use super::storm::{ROWS, Side};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 40.0;
const COLOURS: [&str; 2] = ["#0b6e99", "#c2571a"];
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:left;border-bottom:1px solid #ddd}\
svg{display:block;margin:1rem 0}code{background:#f3f3f3;padding:0 .3rem}";

/// The whole page.
pub(super) fn html(sides: &[Side<'_>]) -> String {
    let (names, all): (Vec<&str>, Vec<&Card>) = sides.iter().map(|side| (side.policy, side.card)).unzip();
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Storm from seed {}</title><style>{STYLE}</style>\
         <h1>{} disasters from seed {}</h1>",
        all[0].seed, all[0].runs, all[0].seed
    );
    page += &table(&names, &all);
    let rto: Vec<Vec<f64>> = all.iter().map(|card| card.rto().to_vec()).collect();
    let downtime: Vec<Vec<f64>> = all.iter().map(|card| sorted(card.downtime())).collect();
    page += &plot("Outages of services that were moved: part that was over after so many seconds", &names, &rto);
    page += &plot("Downtime of a disaster, all services: part that had no more seconds", &names, &downtime);
    page + &bad(sides) + "</html>\n"
}

fn table(names: &[&str], cards: &[&Card]) -> String {
    let heads: String = names.iter().map(|name| format!("<th>{}</th>", escaped(name))).collect();
    let mut html = format!("<table><tr><th></th>{heads}</tr>");
    for (name, figure) in ROWS {
        let cells: String = cards.iter().map(|card| format!("<td>{}</td>", escaped(&figure(card)))).collect();
        // Writing to a string cannot fail.
        let _ = write!(html, "<tr><th>{name}</th>{cells}</tr>");
    }
    html + "</table>"
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// Each curve says which part of the values is no greater; seconds grow by tens of powers.
fn plot(title: &str, names: &[&str], curves: &[Vec<f64>]) -> String {
    let mut svg = format!(
        "<h2>{title}</h2><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" role=\"img\" aria-label=\"{title}\">"
    );
    for (exponent, label) in ["0.1 s", "1 s", "10 s", "100 s", "1000 s", "10000 s"].iter().enumerate() {
        let x = across(10f64.powi(exponent as i32 - 1));
        let _ = write!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"10\" y2=\"{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"middle\">{label}</text>",
            HEIGHT - MARGIN,
            HEIGHT - MARGIN + 16.0
        );
    }
    for (at, (name, values)) in names.iter().zip(curves).enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let points: String = values
            .iter()
            .enumerate()
            .step_by((values.len() / 400).max(1))
            .map(|(rank, value)| format!("{:.1},{:.1} ", across(*value), up((rank + 1) as f64 / values.len() as f64)))
            .collect();
        let y = 24.0 + 16.0 * at as f64;
        let _ = write!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\" font-size=\"12\" fill=\"{colour}\">{}</text>",
            MARGIN + 8.0,
            escaped(name)
        );
    }
    svg + "</svg>"
}

/// From a tenth of a second to ten thousand.
fn across(seconds: f64) -> f64 {
    let part = (seconds.max(0.1).log10() + 1.0) / 5.0;
    MARGIN + part.min(1.0) * (WIDTH - 2.0 * MARGIN)
}

fn up(part: f64) -> f64 {
    10.0 + (1.0 - part) * (HEIGHT - MARGIN - 10.0)
}

fn bad(sides: &[Side<'_>]) -> String {
    if sides.iter().all(|side| side.card.bad.is_empty()) {
        return "<p>Nothing was as it should not be.</p>".to_owned();
    }
    let table = |side: &Side<'_>| {
        let rows = side.card.bad.iter().map(|bad| {
            let (command, text) = (escaped(&side.replay(bad.seed)), escaped(&bad.text));
            format!("<tr><td><code>{command}</code></td><td>{}</td><td>{text}</td></tr>", bad.kind)
        });
        format!("<h2>To look at again: {}</h2><table>{}</table>", escaped(side.policy), rows.collect::<String>())
    };
    sides.iter().filter(|side| !side.card.bad.is_empty()).map(table).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
