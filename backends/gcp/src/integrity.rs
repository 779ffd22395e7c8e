//! The checks that Google asks of its clients
//! (<https://cloud.google.com/kms/docs/data-integrity-guidelines>): each answer is
//! looked at before anything in it is used.

use bytes::Bytes;
use google_cloud_kms_v1::model::{DecryptResponse, EncryptResponse, GenerateRandomBytesResponse};
use zeroize::Zeroizing;

use crate::{Protection, crc32c::crc32c};

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Something on the way changed it, or the request: worth another attempt.
    Corrupted(&'static str),
    /// It lacks what it must hold.
    Empty(&'static str),
}

/// What Encrypt answered, checked.
pub(crate) struct Encrypted {
    /// The name of the version that encrypted.
    pub(crate) version: String,
    pub(crate) ciphertext: Bytes,
    pub(crate) protection: Option<Protection>,
}

impl Encrypted {
    pub(crate) fn check(answer: EncryptResponse) -> Result<Self, Flaw> {
        if answer.ciphertext.is_empty() {
            return Err(Flaw::Empty("ciphertext"));
        }
        if !answer.verified_plaintext_crc32c {
            return Err(Flaw::Corrupted("that the plaintext came as it was sent"));
        }
        if !answer.verified_additional_authenticated_data_crc32c {
            return Err(Flaw::Corrupted("that the context came as it was sent"));
        }
        if answer.ciphertext_crc32c != Some(crc32c(&answer.ciphertext)) {
            return Err(Flaw::Corrupted("the ciphertext by a checksum that fits"));
        }
        let protection = Protection::of(&answer.protection_level);
        Ok(Self { version: answer.name, ciphertext: answer.ciphertext, protection })
    }
}

/// What Decrypt answered, checked.
pub(crate) struct Decrypted {
    /// Wiped when it is dropped; what is left of it in the client's own buffers is out of reach.
    pub(crate) plaintext: Zeroizing<Vec<u8>>,
    pub(crate) protection: Option<Protection>,
}

impl Decrypted {
    pub(crate) fn check(answer: DecryptResponse) -> Result<Self, Flaw> {
        let sum = answer.plaintext_crc32c;
        let protection = Protection::of(&answer.protection_level);
        let plaintext = taken(answer.plaintext);
        if plaintext.is_empty() {
            return Err(Flaw::Empty("plaintext"));
        }
        if sum != Some(crc32c(&plaintext)) {
            return Err(Flaw::Corrupted("the plaintext by a checksum that fits"));
        }
        Ok(Self { plaintext, protection })
    }
}

/// Random bytes of a Cloud HSM, as many as were asked for.
pub(crate) fn random<const LEN: usize>(
    answer: GenerateRandomBytesResponse,
) -> Result<Zeroizing<[u8; LEN]>, Flaw> {
    let sum = answer.data_crc32c;
    let data = taken(answer.data);
    if data.is_empty() {
        return Err(Flaw::Empty("random bytes"));
    }
    if sum != Some(crc32c(&data)) {
        return Err(Flaw::Corrupted("the random bytes by a checksum that fits"));
    }
    let mut random = Zeroizing::new([0; LEN]);
    if data.len() != LEN {
        return Err(Flaw::Empty("random bytes in the number that was asked for"));
    }
    random.copy_from_slice(&data);
    Ok(random)
}

/// The bytes, without a copy where nobody else holds them, as is the case with
/// what the client parsed.
fn taken(bytes: Bytes) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_of_encrypt_is_checked() {
        let fit = || {
            let bytes = Bytes::from_static(b"ciphertext");
            EncryptResponse::new()
                .set_name("n")
                .set_ciphertext_crc32c(crc32c(&bytes))
                .set_ciphertext(bytes)
                .set_verified_plaintext_crc32c(true)
                .set_verified_additional_authenticated_data_crc32c(true)
        };
        assert!(Encrypted::check(fit()).is_ok());
        let is_corrupted = |answer| matches!(Encrypted::check(answer).err(), Some(Flaw::Corrupted(_)));
        assert!(is_corrupted(fit().set_verified_plaintext_crc32c(false)));
        assert!(is_corrupted(fit().set_verified_additional_authenticated_data_crc32c(false)));
        assert!(is_corrupted(fit().set_ciphertext_crc32c(7)));
        assert!(is_corrupted(fit().set_or_clear_ciphertext_crc32c(None::<i64>)));
        assert_eq!(Encrypted::check(EncryptResponse::new()).err(), Some(Flaw::Empty("ciphertext")));
    }

    #[test]
    fn a_plaintext_and_random_bytes_need_their_checksum() {
        let bytes = Bytes::from_static(&[7; 32]);
        let fit = || DecryptResponse::new().set_plaintext(bytes.clone()).set_plaintext_crc32c(crc32c(&bytes));
        assert_eq!(&Decrypted::check(fit()).ok().unwrap().plaintext[..], &bytes[..]);
        let is_corrupted = |answer| matches!(Decrypted::check(answer).err(), Some(Flaw::Corrupted(_)));
        assert!(is_corrupted(fit().set_plaintext_crc32c(7)));
        assert!(is_corrupted(fit().set_or_clear_plaintext_crc32c(None::<i64>)));
        assert_eq!(Decrypted::check(DecryptResponse::new()).err(), Some(Flaw::Empty("plaintext")));

        let fit =
            || GenerateRandomBytesResponse::new().set_data(bytes.clone()).set_data_crc32c(crc32c(&bytes));
        assert_eq!(random::<32>(fit()).unwrap()[..], bytes[..]);
        assert!(matches!(random::<32>(fit().set_data_crc32c(7)), Err(Flaw::Corrupted(_))));
        assert!(matches!(random::<31>(fit()), Err(Flaw::Empty(_))));
        assert!(matches!(random::<32>(GenerateRandomBytesResponse::new()), Err(Flaw::Empty(_))));
    }
}
