//! CRC-32C (Castagnoli, RFC 3720 appendix B.4), which Google asks its clients to
//! send and to check: <https://cloud.google.com/kms/docs/data-integrity-guidelines>.
//! It finds accidents on the way, not attackers: those the wrap's own tag finds.

use crc::{CRC_32_ISCSI, Crc};

/// The checksum of `bytes`, as the protocol has it: in 64 bits.
pub(crate) fn crc32c(bytes: &[u8]) -> i64 {
    i64::from(CASTAGNOLI.checksum(bytes))
}

const CASTAGNOLI: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of RFC 3720, appendix B.4, and the usual check value.
    #[test]
    fn the_examples_of_the_standard_hold() {
        let rising: Vec<u8> = (0..32).collect();
        let falling: Vec<u8> = (0..32).rev().collect();
        for (bytes, sum) in [
            (&[][..], 0),
            (&b"123456789"[..], 0xe306_9283),
            (&[0; 32][..], 0x8a91_36aa),
            (&[0xff; 32][..], 0x62a8_ab43),
            (&rising[..], 0x46dd_794e),
            (&falling[..], 0x113f_db5c),
        ] {
            assert_eq!(crc32c(bytes), sum);
        }
    }
}
