//! As much of DER as a public key of RSA is written in.

/// Modulus and exponent of a `SubjectPublicKeyInfo` (RFC 8017, A.1.1), without
/// leading zeros.
pub(super) fn rsa_numbers(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (info, _) = element(der, SEQUENCE)?;
    let (_, rest) = element(info, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    // The first byte tells how many bits of the last one are unused: none.
    let (key, _) = element(bits.strip_prefix(&[0])?, SEQUENCE)?;
    let (modulus, rest) = element(key, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    Some((number(modulus), number(exponent)))
}

/// The content of the first element, which is to be of this type, and what follows.
fn element(der: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (len, rest) = rest.split_first()?;
    let (len, rest) = match len {
        0..0x80 => (usize::from(*len), rest),
        _ => {
            let (len, rest) = rest.split_at_checked(usize::from(len & 0x7f))?;
            (len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
    };
    (*first == kind).then(|| rest.split_at_checked(len)).flatten()
}

fn number(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|byte| *byte == 0).collect()
}

const INTEGER: u8 = 2;
const BIT_STRING: u8 = 3;
const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_key_are_found_and_those_of_half_a_one_are_not() {
        // A modulus with a leading zero, and the identifier of RSA with its NULL.
        let key = [0x30, 0x0a, 2, 3, 0, 0xc0, 1, 2, 3, 1, 0, 1];
        let algorithm = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0];
        let bits = [&[3, 13, 0], &key[..]].concat();
        let der = [&[0x30, 0x81, 30], &algorithm[..], &bits].concat();
        assert_eq!(rsa_numbers(&der), Some((vec![0xc0, 1], vec![1, 0, 1])));
        for len in 0..der.len() {
            assert_eq!(rsa_numbers(&der[..len]), None, "{len}");
        }
        assert_eq!(rsa_numbers(&key), None, "a sequence that is another one");
    }
}
