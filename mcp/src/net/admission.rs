//! [`Admission`]: who may connect at all.

use super::Client;
use crate::Failure;

/// Knows whose certificate is good for anything, such as a policy. Asked once for each connection; tools ask again what a call may.
pub trait Admission: Send + Sync + 'static {
    /// Whether `client` may connect.
    ///
    /// # Errors
    ///
    /// Why not, in words for the log, and the [decision](crate::Denial) where a policy made it: the client is told no more than that
    /// it may not.
    fn admit(&self, client: &Client) -> Result<(), Failure>;
}
