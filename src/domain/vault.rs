//! What seals secrets for the database: who has the database alone reads none of them.

use chacha20poly1305::{
    XChaCha20Poly1305,
    aead::{Aead, KeyInit, Payload},
};

/// Seals and opens secrets by a key that is kept outside the database: XChaCha20-Poly1305, whose nonces are long
/// enough to be drawn at random. <https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha>
#[derive(Clone)]
pub struct Vault(XChaCha20Poly1305);

/// What was sealed cannot be opened: by another key, for another place, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this was sealed by a key that is not there any more")]
pub struct Lost;

/// Bytes of a nonce.
const NONCE: usize = 24;

impl Vault {
    /// The vault of a key.
    pub fn new(key: [u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(&key.into()))
    }

    /// A vault whose key nobody keeps: what it seals is open to it alone.
    pub fn random() -> Self {
        Self::new(rand::random())
    }

    /// Seals a secret for one place, which says what it is: it opens nowhere else. The nonce is in front.
    pub fn seal(&self, place: &str, secret: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: secret, aad: place.as_bytes() };
        let sealed = self.0.encrypt(&nonce.into(), payload).expect("a secret is far smaller than 256 GB");
        [&nonce[..], &sealed].concat()
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// [`Lost`] where it was not, or not by this key.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, Lost> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(Lost)?;
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        self.0.decrypt(&(*nonce).into(), payload).map_err(|_| Lost)
    }

    /// The same, of a text.
    ///
    /// # Errors
    /// The same, and where it is no text.
    pub fn open_text(&self, place: &str, sealed: &[u8]) -> Result<String, Lost> {
        String::from_utf8(self.open(place, sealed)?).map_err(|_| Lost)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_place_and_by_its_key_alone() {
        let (vault, other) = (Vault::new([1; 32]), Vault::new([2; 32]));
        let sealed = vault.seal("variable 1 TOKEN", b"the secret");
        assert_eq!(vault.open("variable 1 TOKEN", &sealed).as_deref(), Ok(&b"the secret"[..]));
        assert_eq!(vault.open("variable 2 TOKEN", &sealed), Err(Lost));
        assert_eq!(vault.open("variable 1 OTHER", &sealed), Err(Lost));
        assert_eq!(other.open("variable 1 TOKEN", &sealed), Err(Lost));
        for damaged in [&sealed[1..], &sealed[..sealed.len() - 1], &sealed[..10], b""] {
            assert_eq!(vault.open("variable 1 TOKEN", damaged), Err(Lost));
        }
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_ne!(sealed, vault.seal("variable 1 TOKEN", b"the secret"), "a nonce of its own each time");
        assert_eq!(format!("{vault:?}"), "Vault");
    }
}
