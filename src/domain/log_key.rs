//! The key that machines' tokens are made with: nothing to store for each, the same after a crash. What a token
//! is for is part of what is signed, so that a deployment's opens no fetch and the reverse. No number is given out
//! twice, not after a restore either: a token of before would be that of another's deployment.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{DeploymentId, FetchId};

/// A key of 64 random bytes that is kept outside the database.
#[derive(Clone)]
pub struct LogKey([u8; 64]);

impl LogKey {
    /// Takes 64 random bytes as the key.
    pub fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&self.0.into());
        mac.update(text.as_bytes());
        mac
    }

    fn made(&self, text: &str) -> String {
        hex::encode(self.mac(text).finalize().into_bytes())
    }

    fn is_of(&self, text: &str, token: &str) -> bool {
        hex::decode(token).is_ok_and(|bytes| self.mac(text).verify_slice(&bytes).is_ok())
    }

    /// The bearer token of a deployment: HMAC-SHA256 of its number, 64 hexadecimal digits.
    pub fn token(&self, id: DeploymentId) -> String {
        self.made(&format!("deployment {id}"))
    }

    /// Whether `token` is the deployment's, compared in constant time.
    pub fn accepts(&self, id: DeploymentId, token: &str) -> bool {
        self.is_of(&format!("deployment {id}"), token)
    }

    /// The bearer token of a fetch.
    pub fn fetch_token(&self, id: FetchId) -> String {
        self.made(&format!("fetch {id}"))
    }

    /// Whether `token` is the fetch's, compared in constant time.
    pub fn accepts_fetch(&self, id: FetchId, token: &str) -> bool {
        self.is_of(&format!("fetch {id}"), token)
    }
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_its_deployment_and_key_alone() {
        let (key, other) = (LogKey::new([1; 64]), LogKey::new([2; 64]));
        let token = key.token(DeploymentId(7));
        assert!(key.accepts(DeploymentId(7), &token));
        assert!(!key.accepts(DeploymentId(8), &token));
        assert!(!other.accepts(DeploymentId(7), &token));
        assert!(!key.accepts(DeploymentId(7), ""));
        assert!(!key.accepts(DeploymentId(7), &token[..62]));
    }

    #[test]
    fn a_deployments_token_opens_no_fetch_and_the_reverse() {
        let key = LogKey::new([1; 64]);
        let (deployment, fetch) = (key.token(DeploymentId(7)), key.fetch_token(FetchId(7)));
        assert!(key.accepts_fetch(FetchId(7), &fetch) && !key.accepts_fetch(FetchId(8), &fetch));
        assert!(!key.accepts_fetch(FetchId(7), &deployment) && !key.accepts(DeploymentId(7), &fetch));
    }
}
