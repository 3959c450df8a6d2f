//! What happened when, as SVG.

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::Figures;
use crate::core::units::{latency, short};

/// Panels below each other over the same seconds.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Above the panels.
    pub title: String,
    /// From above.
    pub panels: Vec<Panel>,
}

/// One panel: what is measured up its side, and the lines in it.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What its values are, with the unit.
    pub what: String,
    /// How its values are written.
    pub shown: fn(f64) -> String,
    /// How they are spread.
    pub scale: Scale,
    /// What is drawn; a panel of one line has no legend.
    pub lines: Vec<Line>,
}

/// How values are spread over a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By powers of ten; values of 0 or less are left out.
    Log,
}

/// One line of a panel.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Seconds and values; where there is no value, the line has a gap.
    pub points: Vec<(f64, Option<f64>)>,
}

const WIDTH: u32 = 900;
const PANEL: u32 = 300;
const HEADING: u32 = 40;
/// Above each panel, for its legend.
const LEGEND: u32 = 28;
const RIGHT: u32 = 20;

/// Distinct to most of those who see colours differently, and in grey.
const COLOURS: [RGBColor; 4] =
    [RGBColor(46, 111, 149), RGBColor(201, 138, 43), RGBColor(209, 73, 91), RGBColor(79, 157, 105)];
const GRID: RGBColor = RGBColor(226, 226, 226);
const TEXT: RGBColor = RGBColor(60, 60, 60);

impl Panel {
    /// Latency over time: p50, p99 and the slowest.
    pub fn latency(figures: &Figures) -> Panel {
        let line = |name: &str, of: fn(&super::Interval) -> Option<f64>| Line {
            name: name.to_string(),
            points: figures.series.iter().map(|one| (one.end_s, of(one).map(|us| us.max(1.0)))).collect(),
        };
        Panel {
            what: "latency".to_string(),
            shown: latency,
            scale: Scale::Log,
            lines: vec![
                line("p50", |one| one.latency_us_p50),
                line("p99", |one| one.latency_us_p99),
                line("max", |one| one.latency_us_max),
            ],
        }
    }

    /// Things done a second, over time.
    pub fn rate(figures: &Figures, what: &str) -> Panel {
        let point = |one: &super::Interval| (one.seconds > 0.0).then(|| one.done as f64 / one.seconds);
        Panel::of_one(what, figures.series.iter().map(|one| (one.end_s, point(one))).collect())
    }

    /// Connections alive, over time.
    pub fn alive(figures: &Figures) -> Panel {
        let points = figures.series.iter().map(|one| (one.end_s, Some(one.alive as f64)));
        Panel::of_one("connections", points.collect())
    }

    fn of_one(what: &str, points: Vec<(f64, Option<f64>)>) -> Panel {
        let lines = vec![Line { name: what.to_string(), points }];
        Panel { what: what.to_string(), shown: short, scale: Scale::Linear, lines }
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        let points = self.lines.iter().flat_map(|line| line.points.iter());
        points.filter_map(|(_, value)| *value).filter(|value| self.scale == Scale::Linear || *value > 0.0)
    }
}

impl Plot {
    /// The whole picture.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        let size = (WIDTH, HEADING + PANEL * self.panels.len() as u32);
        // Writing to a string fails only where a label's range is impossible, and ranges are made here.
        self.draw(&SVGBackend::with_string(&mut svg, size).into_drawing_area()).expect("ranges are finite");
        svg
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, plotters::coord::Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let (heading, rest) = area.split_vertically(HEADING);
        heading.draw(&Text::new(
            self.title.clone(),
            (16, 14),
            ("sans-serif", 18).into_font().color(&TEXT),
        ))?;
        let last = self.panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
        let seconds = 0.0..last.map(|(at, _)| *at).fold(0.1, f64::max);
        for (panel, area) in self.panels.iter().zip(rest.split_evenly((self.panels.len(), 1))) {
            let most = panel.values().fold(0.0, f64::max);
            match panel.scale {
                Scale::Linear => {
                    let top = if most > 0.0 { most * 1.08 } else { 1.0 };
                    panel.draw(&area, seconds.clone(), 0.0..top)?;
                }
                Scale::Log => {
                    let least = panel.values().fold(f64::MAX, f64::min).min(most.max(1.0));
                    let low = 10f64.powf(least.log10().floor());
                    let high = 10f64.powf(most.max(low * 1.01).log10().ceil());
                    panel.draw(&area, seconds.clone(), (low..high).log_scale())?;
                }
            }
        }
        area.present()
    }
}

impl Panel {
    fn draw<B: DrawingBackend, Y: AsRangedCoord<Value = f64>>(
        &self,
        area: &DrawingArea<B, plotters::coord::Shift>,
        seconds: std::ops::Range<f64>,
        values: Y,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>
    where
        Y::CoordDescType: ValueFormatter<f64>,
        RangedCoordf64: ValueFormatter<f64>,
    {
        let label = ("sans-serif", 13).into_font().color(&TEXT);
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .margin_top(LEGEND)
            .margin_right(RIGHT)
            .x_label_area_size(40)
            .y_label_area_size(80)
            .build_cartesian_2d(seconds, values)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(TEXT)
            .x_desc("seconds")
            .y_desc(self.what.as_str())
            .x_label_formatter(&|at| format!("{}", (at * 100.0).round() / 100.0))
            .y_label_formatter(&|value| without_zeros(&(self.shown)(*value)))
            .label_style(label.clone())
            .axis_desc_style(label.clone())
            .draw()?;
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            for run in line.points.split(|(_, value)| !value.is_some_and(|value| self.can_show(value))) {
                let run: Vec<_> = run.iter().filter_map(|(at, value)| Some((*at, (*value)?))).collect();
                if run.is_empty() {
                    continue;
                }
                if let ([_], Scale::Linear) = (&self.lines[..], self.scale) {
                    chart.draw_series(AreaSeries::new(run.iter().copied(), 0.0, colour.mix(0.12)))?;
                }
                chart.draw_series(LineSeries::new(run, colour.stroke_width(2)))?;
            }
        }
        self.draw_legend(area)
    }

    /// Above the panel's right end, where it hides nothing.
    fn draw_legend<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, plotters::coord::Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        if self.lines.len() < 2 {
            return Ok(());
        }
        let label = ("sans-serif", 13).into_font().color(&TEXT);
        let mut x = (WIDTH - RIGHT) as i32;
        for (line, colour) in
            self.lines.iter().zip(COLOURS.iter().cycle()).collect::<Vec<_>>().into_iter().rev()
        {
            // Letters of 13 pixels are about 8 wide.
            x -= 8 * line.name.chars().count() as i32;
            area.draw(&Text::new(line.name.as_str(), (x, 8), label.clone()))?;
            area.draw(&PathElement::new([(x - 24, 14), (x - 6, 14)], colour.stroke_width(2)))?;
            x -= 44;
        }
        Ok(())
    }

    fn can_show(&self, value: f64) -> bool {
        value.is_finite() && (self.scale == Scale::Linear || value > 0.0)
    }
}

/// `90.0 k` as `90 k`.
fn without_zeros(text: &str) -> String {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number} {unit}").trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_an_axis_are_short() {
        for (long, text) in
            [("90.0 k", "90 k"), ("0.00", "0"), ("1.50 ms", "1.5 ms"), ("100 µs", "100 µs"), ("7", "7")]
        {
            assert_eq!(without_zeros(long), text);
        }
    }

    fn panel(scale: Scale, lines: Vec<Line>) -> Panel {
        Panel { what: "frames/s".to_string(), shown: short, scale, lines }
    }

    fn line(name: &str, values: &[Option<f64>]) -> Line {
        let points = values.iter().enumerate().map(|(at, value)| (at as f64, *value)).collect();
        Line { name: name.to_string(), points }
    }

    #[test]
    fn it_has_axes_units_a_legend_and_an_escaped_title() {
        let values = [Some(10.0), None, Some(2_000.0), Some(0.0), Some(30.0)];
        let svg = Plot {
            title: "a <b> & c".to_string(),
            panels: vec![
                panel(Scale::Linear, vec![line("only", &values)]),
                panel(Scale::Log, vec![line("p50", &values), line("p99", &values)]),
            ],
        }
        .svg();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("a &lt;b&gt; &amp; c"), "{svg}");
        for part in ["seconds", "frames/s", "p50", "p99", "1 k", "10"] {
            assert!(svg.contains(part), "no {part}");
        }
        assert!(!svg.contains("only"), "one line needs no legend");
        // A gap parts a line: two runs below, and of the logarithmic ones, 0 is a gap too.
        assert!(svg.matches("<polyline").count() >= 2 + 2);
    }

    #[test]
    fn nothing_and_little_can_be_drawn() {
        for values in
            [&[][..], &[None], &[Some(0.0)], &[Some(5.0)], &[Some(f64::NAN)], &[Some(1e9), Some(1e-3)]]
        {
            for scale in [Scale::Linear, Scale::Log] {
                let plot = Plot { title: String::new(), panels: vec![panel(scale, vec![line("a", values)])] };
                assert!(plot.svg().contains("</svg>"), "{values:?}");
            }
        }
    }
}
