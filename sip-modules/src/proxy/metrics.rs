//! What a proxy tells about itself: to Prometheus, and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kemi_core::Program;
use kemi_core::program::ProgramStatus;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use serde::Serialize;

use crate::location::TableStats;
use crate::proxy::statistics::Counts;
use crate::proxy::{Cx, Health, Shared, WorkerState, log_lines};
use crate::transaction::Stats;

/// The numbers of a proxy.
#[derive(Clone, Debug)]
pub struct Metrics {
    shared: Arc<Shared>,
    program: Arc<Program<Cx>>,
}

impl Metrics {
    /// Takes the numbers from a proxy and the program that it runs.
    #[must_use]
    pub fn new(shared: Arc<Shared>, program: Arc<Program<Cx>>) -> Metrics {
        Metrics { shared, program }
    }

    /// Returns whether the proxy is well.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Returns all numbers in the OpenMetrics text format, which Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        registry.register_collector(Box::new(self.shared.registry.data().metrics_collector()));
        let mut text = String::new();
        // Writing to a String does not fail.
        if let Err(error) = text::encode(&mut text, &registry) {
            tracing::error!("the metrics cannot be written: {error}; this is a bug in the proxy");
        }
        text
    }

    /// Returns all numbers at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let shared = &self.shared;
        let tables = shared.location.tables().into_iter();
        Snapshot {
            uptime: shared.now() / 1000,
            counts: shared.statistics.sum(),
            transactions: shared.transactions.stats(),
            transactions_bytes: shared.transaction_memory.held(),
            registrations: tables.filter_map(|name| Some((shared.location.stats(&name)?, name))).map(swap).collect(),
            log_lines_lost: log_lines::lost(),
            health: shared.health(),
            program: self.program.status(),
            script: shared.registry.data().metrics(),
        }
    }
}

fn swap<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

/// The numbers of a proxy at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Seconds since the start.
    pub uptime: u64,
    #[serde(flatten)]
    pub(crate) counts: Counts,
    /// The transactions.
    pub transactions: Stats,
    /// The bytes that they hold.
    pub transactions_bytes: u64,
    /// What each location table holds.
    pub registrations: BTreeMap<String, TableStats>,
    /// Lines of the log that could not be written.
    pub log_lines_lost: u64,
    /// Whether the proxy is well.
    pub health: Health,
    /// The script and the version of it that each worker runs.
    pub program: ProgramStatus,
    /// What the script has called and been called for.
    pub script: kemi_core::telemetry::Metrics,
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Snapshot {
            uptime,
            counts,
            transactions,
            transactions_bytes,
            registrations,
            log_lines_lost,
            health,
            program,
            script: _,
        } = self.snapshot();
        let mut out = Out(&mut encoder);
        out.counters(
            "sip_requests_received",
            "Requests received, retransmissions included",
            "method",
            &counts.requests_received,
        )?;
        out.counters("sip_replies_received", "Replies received", "class", &counts.replies_received)?;
        out.counters("sip_replies_sent", "Replies sent, retransmissions included", "class", &counts.replies_sent)?;
        out.counters("sip_datagrams_dropped", "Datagrams that reached no script", "reason", &counts.datagrams_dropped)?;
        out.counters(
            "sip_retransmissions",
            "Messages of a transaction that came or went again",
            "direction",
            &counts.retransmissions,
        )?;
        out.counter("sip_transactions_created", "Transactions created", transactions.created)?;
        out.counter(
            "sip_transactions_refused",
            "Requests answered 503 for lack of room for their transaction",
            counts.transactions_refused,
        )?;
        out.gauge("sip_transactions", "Transactions at this moment", transactions.current)?;
        out.gauge("sip_transactions_bytes", "Bytes that they hold", transactions_bytes)?;
        let tables = || registrations.iter();
        let records = tables().map(|(table, stats)| (table, stats.records as u64));
        out.gauges("sip_registered_addresses", "Addresses of record with a contact", "table", records)?;
        let contacts = tables().map(|(table, stats)| (table, stats.contacts as u64));
        out.gauges("sip_registered_contacts", "Registered contacts", "table", contacts)?;
        let bytes = tables().map(|(table, stats)| (table, stats.bytes as u64));
        out.gauges("sip_registered_bytes", "Bytes that they take", "table", bytes)?;
        out.counter(
            "sip_registrations_refused",
            "REGISTERs answered 503 because the registrar was full",
            tables().map(|(_, stats)| stats.refused).sum(),
        )?;

        out.gauge("kemi_program_version", "Version of the script that is published", program.version)?;
        let versions = program.workers.iter().map(|worker| (&worker.name, worker.version));
        out.gauges("kemi_worker_program_version", "Version of the script that a worker runs", "worker", versions)?;

        let states = [("working", WorkerState::Working), ("stuck", WorkerState::Stuck), ("ended", WorkerState::Ended)];
        let in_state = |state| health.workers.iter().filter(|worker| worker.state == state).count() as u64;
        out.gauges(
            "sip_workers",
            "Workers by how they are",
            "state",
            states.map(|(name, state)| (name, in_state(state))),
        )?;
        out.counter("sip_log_lines_lost", "Lines of the log that could not be written", log_lines_lost)?;
        out.gauge("sip_ready", "1 while new requests are taken", u64::from(health.ready))?;
        let started = self.shared.unix_now().saturating_sub(uptime);
        out.gauge("process_start_time_seconds", "When the proxy started, in seconds since 1970", started)
    }
}

/// Writes metrics of one label at most.
struct Out<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Out<'_, '_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, values: &BTreeMap<&str, u64>) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (&key, value) in values {
            metric.encode_family(&[(label, key)])?.encode_counter::<NoLabelSet, u64, f64>(value, None)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (impl AsRef<str>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (key, value) in values {
            metric.encode_family(&[(label, key.as_ref())])?.encode_gauge(&value)?;
        }
        Ok(())
    }
}
