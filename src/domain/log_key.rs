//! The key that deploy-log tokens are made with: nothing to store for each, the same after a crash.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::DeploymentId;

/// A key of 64 random bytes that is kept outside the database.
#[derive(Clone)]
pub struct LogKey([u8; 64]);

impl LogKey {
    /// Takes 64 random bytes as the key.
    pub fn new(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    fn mac(&self, id: DeploymentId) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&self.0.into());
        mac.update(format!("deployment {id}").as_bytes());
        mac
    }

    /// The bearer token of a deployment: HMAC-SHA256 of its number, 64 hexadecimal digits.
    pub fn token(&self, id: DeploymentId) -> String {
        hex::encode(self.mac(id).finalize().into_bytes())
    }

    /// Whether `token` is the deployment's, compared in constant time.
    pub fn accepts(&self, id: DeploymentId, token: &str) -> bool {
        hex::decode(token).is_ok_and(|bytes| self.mac(id).verify_slice(&bytes).is_ok())
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
}
