//! Prometheus instruments, and the text of the metrics page (exposition format 0.0.4).
//!
//! Each layer measures its own work with instruments, and `http` collects them. Collecting waits for no lock
//! that is held during work, so that the page answers while the HSM or the ledger hangs.

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounterVec, Opts, TextEncoder,
    core::Collector,
    proto::{self, Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};

/// Bounds of the buckets in seconds: from a write to an SSD to the deadline of a signature.
const BOUNDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const NAMES_FIT: &str = "names and labels are constants of ours, and tests read them";

/// A histogram of durations in seconds.
#[expect(clippy::expect_used, reason = "the name is a constant")]
pub fn histogram(name: &'static str, help: &'static str) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(BOUNDS.to_vec());
    Histogram::with_opts(options).expect(NAMES_FIT)
}

/// A family of counters, one for each combination of label values.
#[expect(clippy::expect_used, reason = "names are constants")]
pub fn counters(name: &'static str, help: &'static str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect(NAMES_FIT)
}

/// The media type of [`Page::into_text`].
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics page of one scrape.
#[derive(Default)]
pub struct Page(Vec<MetricFamily>);

/// A value and its labels.
pub struct Sample<'a> {
    labels: Vec<(&'static str, &'a str)>,
    value: f64,
}

impl<'a> Sample<'a> {
    /// From pairs of label and value.
    pub fn new(labels: impl Into<Vec<(&'static str, &'a str)>>, value: f64) -> Self {
        Self { labels: labels.into(), value }
    }
}

/// A histogram whose buckets were counted elsewhere.
pub struct Durations<'a> {
    /// Pairs of label and value.
    pub labels: Vec<(&'static str, &'a str)>,
    /// Cumulative buckets: the upper bound in seconds, and how many observations are at most that.
    pub at_most: Vec<(f64, u64)>,
    /// The number of observations.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
}

impl Page {
    /// Adds instruments. Families without a sample are left out, because they are no valid text.
    pub fn instruments(&mut self, instruments: &impl Collector) {
        let measured = instruments.collect().into_iter();
        self.0.extend(measured.filter(|family| !family.get_metric().is_empty()));
    }

    /// Adds a family of gauges.
    pub fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a>>,
    ) {
        let metrics = samples.into_iter().map(|Sample { labels, value }| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = labelled(labels);
            metric.set_gauge(gauge);
            metric
        });
        self.family(MetricType::GAUGE, name, help, metrics);
    }

    /// Adds one gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [Sample::new([], value)]);
    }

    /// Adds a family of counters.
    pub fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = Sample<'a>>,
    ) {
        let metrics = samples.into_iter().map(|Sample { labels, value }| {
            let mut counter = Counter::default();
            counter.set_value(value);
            let mut metric = labelled(labels);
            metric.set_counter(counter);
            metric
        });
        self.family(MetricType::COUNTER, name, help, metrics);
    }

    /// Adds a family of histograms.
    pub fn durations<'a>(
        &mut self,
        name: &str,
        help: &str,
        durations: impl IntoIterator<Item = Durations<'a>>,
    ) {
        let metrics = durations.into_iter().map(|Durations { labels, at_most, count, sum }| {
            let buckets = at_most.into_iter().map(|(bound, number)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(number);
                bucket
            });
            let mut histogram = proto::Histogram::default();
            histogram.set_bucket(buckets.collect());
            histogram.set_sample_count(count);
            histogram.set_sample_sum(sum.as_secs_f64());
            let mut metric = labelled(labels);
            metric.set_histogram(histogram);
            metric
        });
        self.family(MetricType::HISTOGRAM, name, help, metrics);
    }

    fn family(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        metrics: impl Iterator<Item = Metric>,
    ) {
        let metrics: Vec<_> = metrics.collect();
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    /// Renders the page.
    ///
    /// # Errors
    /// A family cannot be written.
    pub fn into_text(self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::with_capacity(16 << 10);
        TextEncoder::new().encode(&self.0, &mut text)?;
        Ok(text)
    }
}

fn labelled(labels: Vec<(&'static str, &str)>) -> Metric {
    let pairs = labels.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

/// Converts a count to a sample value; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "nothing here is counted so far")]
pub fn count(number: u64) -> f64 {
    number as f64
}

/// Converts a flag to a sample value: 1 for true.
pub fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_text_that_prometheus_reads() {
        let requests = counters("t_requests_total", "Requests.", &["route"]);
        let unused = counters("t_unused_total", "Nothing yet.", &["route"]);
        requests.with_label_values(&["GET /x"]).inc_by(2);
        let mut page = Page::default();
        page.instruments(&requests);
        page.instruments(&unused);
        page.gauges("t_up", "A \\ name.", [Sample::new([("token", "a\"b\nc")], flag(true))]);
        page.gauges("t_none", "No sample.", []);
        page.counters("t_size_total", "Size.", [Sample::new([], count(9_007_199_254_740_992))]);
        let text = String::from_utf8(page.into_text().unwrap()).unwrap();
        let expected = "# HELP t_requests_total Requests.\n# TYPE t_requests_total counter\n\
            t_requests_total{route=\"GET /x\"} 2\n\
            # HELP t_up A \\\\ name.\n# TYPE t_up gauge\nt_up{token=\"a\\\"b\\nc\"} 1\n\
            # HELP t_size_total Size.\n# TYPE t_size_total counter\n\
            t_size_total 9007199254740992\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_duration_is_in_the_bucket_of_its_bound() {
        let seconds = histogram("t_seconds", "Time.");
        seconds.observe(0.003);
        let mut page = Page::default();
        page.instruments(&seconds);
        let text = String::from_utf8(page.into_text().unwrap()).unwrap();
        assert!(text.contains("t_seconds_bucket{le=\"0.0025\"} 0\n"), "{text}");
        assert!(text.contains("t_seconds_bucket{le=\"0.005\"} 1\n"), "{text}");
        assert!(text.contains("t_seconds_bucket{le=\"+Inf\"} 1\n"), "{text}");
    }
}
