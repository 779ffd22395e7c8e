#![doc = include_str!("../README.md")]

mod checkpoint;
mod control;
mod error;
mod files;
mod goal;
mod html;
mod items;
mod job;
mod memory;
mod metered;
#[cfg(feature = "objects")]
mod objects;
mod outcomes;
mod patience;
mod plan;
mod prices;
pub mod records;
mod reencryption;
mod report;
mod shard;
mod source;
#[cfg(feature = "sql")]
mod sql;
mod target;
#[cfg(feature = "testing")]
pub mod testing;
mod threads;
mod usage;
mod usage_report;
mod work;

pub use checkpoint::Checkpoint;
pub use control::Control;
pub use error::{ItemError, RotationError};
pub use files::{Files, half_reencrypted, is_half_reencrypted, is_left_over, payload_path};
pub use goal::{Concern, Goal, Key};
pub use html::HtmlReport;
pub use job::Job;
pub use memory::Memory;
pub use metered::KeyStores;
#[cfg(feature = "objects")]
pub use objects::{Objects, ObjectsError, Passed};
pub use plan::{Plan, Reason};
pub use prices::{Estimate, Price, Prices, PricesError};
pub use reencryption::{Reencryption, Sealed};
pub use report::{ItemReport, Outcome, Report, Totals};
pub use shard::{NotAShard, Shard};
pub use source::{Item, Listing, Source, SourceError, Stored, Unlock};
#[cfg(feature = "sql")]
pub use sql::{Sql, SqlError, SqlRecords};
pub use usage::{Opens, Usage};
pub use usage_report::{Counts, KeyVersion, Loss, UsageReader, UsageReportError, UsageWriter, UsedEnvelope};

/// The examples of the page compile.
#[cfg(all(doctest, feature = "sql"))]
#[doc = include_str!("../../docs/rotation-sql.md")]
struct RotationInSql;
