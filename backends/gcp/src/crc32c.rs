//! CRC-32C (Castagnoli, RFC 3720 appendix B.4), which Google asks its clients to
//! send and to check: <https://cloud.google.com/kms/docs/data-integrity-guidelines>.
//! It finds accidents on the way, not attackers: those the wrap's own tag finds.

/// The checksum of `bytes`, as the protocol has it: in 64 bits.
pub(crate) fn crc32c(bytes: &[u8]) -> i64 {
    let rest = bytes.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        TABLE[usize::from(low ^ byte)] ^ (crc >> 8)
    });
    i64::from(!rest)
}

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0_u32; 256];
    let mut at = 0_u32;
    while at < 256 {
        let (mut crc, mut bit) = (at, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ CASTAGNOLI } else { crc >> 1 };
            bit += 1;
        }
        table[at as usize] = crc;
        at += 1;
    }
    table
}

/// The polynomial 0x1EDC6F41, its bits in reverse.
const CASTAGNOLI: u32 = 0x82f6_3b78;

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
