//! The documentation that clients may read.

use std::sync::Arc;

use envelope_mcp::Document;

pub(super) fn all() -> Arc<[Document]> {
    [
        page("envctl", "How envctl is used", include_str!("../../../../docs/envctl.md")),
        page(
            "rotation",
            "Rotation, from the plan to the end of the old key",
            include_str!("../../../../docs/rotation.md"),
        ),
        page("rotation-objects", "Rotation in buckets", include_str!("../../../../docs/rotation-objects.md")),
        page("mcp", "This server: what it tells, and what not", include_str!("../../../../docs/mcp.md")),
        page("policy", "Policies", include_str!("../../../../policy/README.md")),
        page("audit", "The audit log", include_str!("../../../../audit/README.md")),
        page(
            "threat-model",
            "What is protected, and what is not",
            include_str!("../../../../docs/threat-model.md"),
        ),
    ]
    .into()
}

const fn page(name: &'static str, title: &'static str, text: &'static str) -> Document {
    Document { name, title, text }
}
