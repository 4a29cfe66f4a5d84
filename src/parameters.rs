//! `ec-deployer parameters`: the site's settings out of Systems Manager's Parameter Store, as lines for an environment
//! file. Their values are printed, and are in no log and no error.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use crate::cloud::{
    CloudError,
    ec2::{Asked, Requests},
};

/// The settings could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum ParametersError {
    /// The path is none.
    #[error("{0:?} is no path of parameters: it begins with a slash, like /ec-deployer/site/")]
    Path(String),
    /// AWS did not answer.
    #[error(transparent)]
    Aws(#[from] CloudError),
    /// There are none, which is as bad as settings that are wrong.
    #[error("there is no parameter below {0} in {1}: are the path and the region right?")]
    Nothing(String, String),
    /// A name that no setting has.
    #[error(
        "the parameter {0} is no setting: after {1} comes a name of capitals, digits and underscores, like LISTEN"
    )]
    Name(String, String),
    /// A value that no line can hold.
    #[error("the value of the parameter {0} has a line break or a NUL in it, which a setting cannot have")]
    Value(String),
    /// Standard output.
    #[error("they could not be written: {0}")]
    Write(#[from] io::Error),
}

/// Prints the settings below a path, decrypted, sorted, a line for each; nothing where one of them is wrong.
///
/// # Errors
/// Where AWS does not answer, there is none, or one is no setting.
pub async fn print(path: &str) -> Result<(), ParametersError> {
    let aws = aws_config::load_from_env().await;
    let config = aws_sdk_ssm::config::Builder::from(&aws).interceptor(Requests).build();
    let region = aws.region().map_or("no region: set AWS_REGION", |region| region.as_ref());
    let asked = Asked { service: "ssm", operation: "GetParametersByPath", region };
    let below = below(path)?;
    let request = aws_sdk_ssm::Client::from_conf(config)
        .get_parameters_by_path()
        .path(below.trim_end_matches('/'))
        .recursive(false)
        .with_decryption(true);
    let mut pages = request.into_paginator().send();
    let mut settings = BTreeMap::new();
    while let Some(page) = pages.next().await {
        for parameter in page.map_err(|error| asked.explain(error))?.parameters.unwrap_or_default() {
            let full = parameter.name.unwrap_or_default();
            let (name, value) = setting(&below, &full, parameter.value.unwrap_or_default())?;
            settings.insert(name, value);
        }
    }
    if settings.is_empty() {
        return Err(ParametersError::Nothing(below, region.to_owned()));
    }
    let lines: String = settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let mut out = io::stdout().lock();
    out.write_all(lines.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// The path with one slash at its end.
fn below(path: &str) -> Result<String, ParametersError> {
    let trimmed = path.trim_end_matches('/');
    if trimmed.len() < 2 || !trimmed.starts_with('/') {
        return Err(ParametersError::Path(path.to_owned()));
    }
    Ok(format!("{trimmed}/"))
}

/// The setting that a parameter is.
fn setting(below: &str, full: &str, value: String) -> Result<(String, String), ParametersError> {
    let name = full.strip_prefix(below).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.starts_with(|first: char| first.is_ascii_uppercase()) || !name.bytes().all(plain) {
        return Err(ParametersError::Name(full.to_owned(), below.to_owned()));
    }
    if value.contains(['\n', '\r', '\0']) {
        return Err(ParametersError::Value(full.to_owned()));
    }
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_slash_at_its_end() {
        for path in ["/ec-deployer/site", "/ec-deployer/site/", "/ec-deployer/site//"] {
            assert_eq!(below(path).unwrap(), "/ec-deployer/site/");
        }
        for bad in ["", "/", "//", "site", "site/"] {
            assert!(below(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_setting_is_named_and_its_value_is_not() {
        let of = |name: &str, value: &str| setting("/site/", name, value.to_owned());
        assert_eq!(of("/site/KEY_PAIR2", "a=b 'c'").unwrap(), ("KEY_PAIR2".into(), "a=b 'c'".into()));
        for bad in
            ["/site/", "/site/key", "/site/2X", "/site/_X", "/site/A-B", "/site/A/B", "/other/A", "/site/Ä"]
        {
            let told = of(bad, "hidden").unwrap_err().to_string();
            assert!(told.contains(bad) && !told.contains("hidden"), "{told}");
        }
        for bad in ["hidden\nX=1", "hidden\r", "hidden\0"] {
            let told = of("/site/A", bad).unwrap_err().to_string();
            assert!(told.contains("/site/A") && !told.contains("hidden"), "{told}");
        }
    }
}
