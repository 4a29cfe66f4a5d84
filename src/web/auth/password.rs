//! Passwords: argon2id, a few at a time.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::domain::{NO_PASSWORD, NameError};

/// Hashes that are computed at once. Each takes 19 MiB and a core for about 20 ms, so that a flood
/// of sign-ins waits here and the rest of the site goes on.
static HASHING: Semaphore = Semaphore::const_new(2);

/// Fewest characters of a password.
const MIN: usize = 12;
/// Most bytes of a password: no person types more, and hashing time grows with it.
const MAX: usize = 1000;

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("a password could not be hashed: {0}")]
pub struct PasswordError(String);

/// Checks a new password: 12 characters or more, at most 1000 bytes.
///
/// # Errors
/// One sentence that says what is missing.
pub fn check_password_rules(password: &str) -> Result<(), NameError> {
    let characters = password.chars().count();
    if characters < MIN {
        let has = if characters == 1 { "1 character".to_owned() } else { format!("{characters} characters") };
        return Err(NameError::new(format!("This one has {has}; {MIN} are needed.")));
    }
    if password.len() > MAX {
        return Err(NameError::new(format!("At most {MAX} bytes are taken.")));
    }
    Ok(())
}

/// The argon2id hash of a password, as a PHC string. Takes a core for some 20 ms.
///
/// # Errors
/// Where there is no memory or no randomness for it.
pub fn hash_password(password: &str) -> Result<String, PasswordError> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| PasswordError(error.to_string()))?;
    Ok(hash.to_string())
}

/// The same, aside from the threads that answer requests.
pub async fn hash_aside(password: SecretString) -> Result<String, PasswordError> {
    let _permit = HASHING.acquire().await.map_err(|error| PasswordError(error.to_string()))?;
    tokio::task::spawn_blocking(move || hash_password(password.expose_secret()))
        .await
        .map_err(|error| PasswordError(error.to_string()))?
}

/// Whether a password is the one of a hash; without a hash it never is, after the same time.
pub async fn verify_aside(password: SecretString, hash: Option<String>) -> Result<bool, PasswordError> {
    let _permit = HASHING.acquire().await.map_err(|error| PasswordError(error.to_string()))?;
    let known = hash.is_some();
    let hash = hash.unwrap_or_else(|| NO_PASSWORD.to_owned());
    let matches = tokio::task::spawn_blocking(move || verify(password.expose_secret(), &hash))
        .await
        .map_err(|error| PasswordError(error.to_string()))??;
    Ok(matches && known)
}

fn verify(password: &str, hash: &str) -> Result<bool, PasswordError> {
    let hash = PasswordHash::new(hash).map_err(|error| PasswordError(error.to_string()))?;
    // What is longer was never set; hashing it would only take time.
    let password = if password.len() > MAX { "" } else { password };
    Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_argon2id_and_matches_its_password_alone() {
        let hash = hash_password("correct horse battery").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify("correct horse battery", &hash).unwrap());
        assert!(!verify("correct horse batterz", &hash).unwrap());
    }

    #[test]
    fn the_hash_of_no_password_costs_what_a_persons_does() {
        let parameters = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        assert_eq!(parameters(NO_PASSWORD), parameters(&hash_password("correct horse battery").unwrap()));
        assert!(!verify("", NO_PASSWORD).unwrap());
        let lengths = |hash: &str| PasswordHash::new(hash).unwrap().hash.unwrap().len();
        assert_eq!(lengths(NO_PASSWORD), 32);
    }

    #[test]
    fn rules() {
        assert!(check_password_rules("twelve chars").is_ok());
        assert_eq!(
            check_password_rules("nine char").unwrap_err().message,
            "This one has 9 characters; 12 are needed."
        );
        assert!(check_password_rules(&"x".repeat(1001)).is_err());
    }
}
