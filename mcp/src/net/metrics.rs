//! What is counted, for whatever recorder of the crate `metrics` the program installed.

use std::sync::Once;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Every metric: name, kind, labels, and what it is.
pub const METRICS: [(&str, &str, &str, &str); 8] = [
    (CONNECTIONS, "counter", "`outcome`", "connections: `ok`, or why not"),
    (OPEN, "gauge", "", "connections that are open"),
    (HANDSHAKE, "histogram", "", "how long a handshake took that succeeded"),
    (RESUMED, "counter", "", "handshakes that resumed a session"),
    (REQUESTS, "counter", "`outcome`", "HTTP requests: `ok`, or why not"),
    (
        RELOADS,
        "counter",
        "`outcome`",
        "changes of certificate, key, authority or revocation list: `ok` or `failed`",
    ),
    (EXPIRES, "gauge", "`what`", "when the `certificate` or the `crl` in use ends, in seconds since 1970"),
    (UNRECORDED, "counter", "", "refusals that were counted and not recorded, since there were too many"),
];

/// Describes the metrics to the recorder, which is to be installed by then.
pub fn describe_metrics() {
    static DESCRIBED: Once = Once::new();
    DESCRIBED.call_once(|| {
        for (name, kind, _, what) in METRICS {
            match kind {
                "counter" => describe_counter!(name, Unit::Count, what),
                "gauge" if name == EXPIRES => describe_gauge!(name, Unit::Seconds, what),
                "gauge" => describe_gauge!(name, Unit::Count, what),
                _ => describe_histogram!(name, Unit::Seconds, what),
            }
        }
    });
}

pub(crate) const CONNECTIONS: &str = "envelope_mcp_connections_total";
pub(crate) const OPEN: &str = "envelope_mcp_connections_open";
pub(crate) const HANDSHAKE: &str = "envelope_mcp_handshake_duration_seconds";
pub(crate) const RESUMED: &str = "envelope_mcp_resumptions_total";
pub(crate) const REQUESTS: &str = "envelope_mcp_requests_total";
pub(crate) const RELOADS: &str = "envelope_mcp_reloads_total";
pub(crate) const EXPIRES: &str = "envelope_mcp_expires_seconds";
pub(crate) const UNRECORDED: &str = "envelope_mcp_unrecorded_refusals_total";
