//! How a metric is written.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::core::histogram::Histogram;

/// Writes metrics, each family in one call.
pub struct Out<'a>(pub DescriptorEncoder<'a>);

/// No label.
pub const NONE: [(&str, &str); 0] = [];

/// One label and its value.
pub type Label = [(&'static str, &'static str); 1];

impl Out<'_> {
    /// A gauge under its new name, and for one release under its old one, too.
    pub fn renamed<V: Value>(&mut self, (old, new): (&str, &str), help: &str, value: V) -> fmt::Result {
        self.gauge(new, help, value, &NONE)?;
        self.gauge(old, &deprecated(new, ""), value, &NONE)
    }

    pub fn counter<V: Value>(&mut self, name: &str, help: &str, value: V) -> fmt::Result {
        // The library adds `_total`.
        let mut metric = self.0.encode_descriptor(name, help, None::<&Unit>, MetricType::Counter)?;
        value.counter(&mut metric)
    }

    pub fn counters<V: Value, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: [(Label, V); N],
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values.iter().try_for_each(|(label, value)| value.counter(&mut metric.encode_family(label)?))
    }

    pub fn gauge<V: Value>(
        &mut self,
        name: &str,
        help: &str,
        value: V,
        labels: &impl EncodeLabelSet,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        value.gauge(&mut metric.encode_family(labels)?)
    }

    pub fn gauges<V: Value, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: [(Label, V); N],
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        values.iter().try_for_each(|(label, value)| value.gauge(&mut metric.encode_family(label)?))
    }

    /// As many as there are.
    pub fn listed<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        values: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (label, value) in values {
            let mut metric = metric.encode_family(&label)?;
            match kind {
                MetricType::Counter => value.counter(&mut metric)?,
                _ => value.gauge(&mut metric)?,
            }
        }
        Ok(())
    }

    /// Of microseconds, from 1 µs to 16 s.
    pub fn seconds(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        self.histogram(name, help, histogram, 1e6, 0..=24)
    }

    /// With a bucket for each power of two; so many of its values make one of the metric's unit.
    pub fn histogram(
        &mut self,
        name: &str,
        help: &str,
        histogram: &Histogram,
        per_unit: f64,
        powers: std::ops::RangeInclusive<u32>,
    ) -> fmt::Result {
        let mut below = 0;
        let buckets: Vec<(f64, u64)> = powers
            .map(|power| {
                let count = histogram.count_up_to(power);
                let more = count - std::mem::replace(&mut below, count);
                (f64::from(1 << power) / per_unit, more)
            })
            .collect();
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let sum = histogram.sum() as f64 / per_unit;
        metric.encode_histogram::<NoLabelSet>(sum, histogram.count(), &buckets, None)
    }
}

/// The help of a metric that has a new name.
pub fn deprecated(new: &str, suffix: &str) -> String {
    format!("Deprecated, it goes with the next release: use {new}{suffix}")
}

/// A whole number or a fraction.
pub trait Value: Copy {
    fn counter(self, metric: &mut MetricEncoder<'_>) -> fmt::Result;
    fn gauge(self, metric: &mut MetricEncoder<'_>) -> fmt::Result;
}

impl Value for u64 {
    fn counter(self, metric: &mut MetricEncoder<'_>) -> fmt::Result {
        metric.encode_counter::<NoLabelSet, u64, f64>(&self, None)
    }

    fn gauge(self, metric: &mut MetricEncoder<'_>) -> fmt::Result {
        metric.encode_gauge(&self)
    }
}

impl Value for f64 {
    fn counter(self, metric: &mut MetricEncoder<'_>) -> fmt::Result {
        metric.encode_counter::<NoLabelSet, f64, f64>(&self, None)
    }

    fn gauge(self, metric: &mut MetricEncoder<'_>) -> fmt::Result {
        metric.encode_gauge(&self)
    }
}
