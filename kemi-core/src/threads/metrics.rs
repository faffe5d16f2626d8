//! The lengths of a queue for the crate `prometheus-client`.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use super::queue::{Lengths, Queue};

/// Exports the load of a pool or an actor to the crate `prometheus-client`.
///
/// It does not keep the threads from ending.
pub struct PoolCollector {
    name: String,
    read: Box<dyn Fn() -> Lengths + Send + Sync>,
}

impl PoolCollector {
    pub(super) fn new<S: 'static>(queue: &Arc<Queue<S>>) -> PoolCollector {
        let name = queue.name().to_owned();
        let queue = queue.clone();
        PoolCollector { name, read: Box::new(move || queue.lengths()) }
    }
}

impl Collector for PoolCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let lengths = (self.read)();
        let rows = [
            ("kemi_pool_queued", "Calls in the queue", lengths.queued),
            ("kemi_pool_waiting", "Calls that wait for room in the queue", lengths.waiting),
            ("kemi_pool_busy_threads", "Threads that make a call", lengths.running),
            ("kemi_pool_threads", "Threads", lengths.threads),
        ];
        for (metric, help, length) in rows {
            let value = i64::try_from(length).unwrap_or(i64::MAX);
            let mut family = encoder.encode_descriptor(metric, help, None, MetricType::Gauge)?;
            family.encode_family(&[("pool", self.name.as_str())])?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

impl fmt::Debug for PoolCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolCollector").field("name", &self.name).finish_non_exhaustive()
    }
}
