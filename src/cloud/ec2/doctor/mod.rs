//! A look at the account: whether it can run machines by these settings, and what to do where it cannot. Nothing is
//! made or changed there: what would change something is asked for as a dry run.

mod allowed;
mod callback;
mod image;
mod network;
mod policy;
mod role;

use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use tokio::sync::mpsc;

use super::{
    Ec2,
    errors::{Asked, is_denied},
};
use crate::cloud::{CloudError, Finding, Retry};

/// A look under way.
struct Look<'a> {
    ec2: &'a Ec2,
    /// The process of the site that runs on this state directory, where one does.
    site: Option<i32>,
    /// Takes each finding as it comes.
    findings: mpsc::UnboundedSender<Finding>,
}

/// Who this site is to AWS.
struct Caller {
    /// `arn:aws:iam::123456789012:user/ec-deployer`
    arn: String,
    account: String,
}

impl Ec2 {
    /// Looks whether machines can run in the account, and tells what it finds as it comes, in the order in which a
    /// person would cure it.
    pub async fn examine(
        &self,
        site: impl Fn() -> Option<i32> + Send + Sync + 'static,
        findings: mpsc::UnboundedSender<Finding>,
    ) {
        let look = Look { ec2: self, site: site(), findings: findings.clone() };
        tokio::select! {
            () = look.everything() => {}
            // Nobody waits for it any more.
            () = findings.closed() => {}
        }
    }
}

impl Look<'_> {
    async fn everything(&self) {
        let Some(caller) = self.account().await else { return };
        let image = self.image().await;
        let network = self.network().await;
        self.machine_types(image.as_ref(), &network).await;
        self.key_pair().await;
        self.role().await;
        self.allowed(&caller, image.as_ref()).await;
        self.callback(&network).await;
    }

    /// Who this site is, and whether EC2 answers it; without that nothing else can be asked.
    async fn account(&self) -> Option<Caller> {
        let Some(region) = &self.ec2.0.region else {
            self.bad(
                "no region is set",
                "set AWS_REGION to the one that machines are to run in (eu-central-1, say)",
            );
            return None;
        };
        let told = match self.ec2.0.sts.get_caller_identity().send().await {
            Ok(told) => told,
            Err(error) => {
                self.unhelped(self.explain("sts", "GetCallerIdentity", error));
                return None;
            }
        };
        let caller = Caller { arn: told.arn.unwrap_or_default(), account: told.account.unwrap_or_default() };
        self.ok(format!("AWS knows this site as {}, in the account {}", caller.arn, caller.account));
        match self.ec2.0.ec2.describe_instances().max_results(5).send().await {
            Ok(_) => {}
            Err(error) => {
                let error = self.ec2.explain("DescribeInstances", error);
                if !is_denied(&error) {
                    self.unhelped(error);
                    return None;
                }
            }
        }
        self.ok(format!("EC2 answers in {region}"));
        Some(caller)
    }

    fn ok(&self, what: impl Into<String>) {
        self.tell(Finding::ok(what));
    }

    fn warn(&self, what: impl Into<String>, cure: impl Into<String>) {
        self.tell(Finding::warn(what, cure));
    }

    fn bad(&self, what: impl Into<String>, cure: impl Into<String>) {
        self.tell(Finding::bad(what, cure));
    }

    fn tell(&self, finding: Finding) {
        // Whoever asked may be gone.
        let _ = self.findings.send(finding);
    }

    /// What AWS answered is bad in itself.
    fn unhelped(&self, error: CloudError) {
        let (what, cure) = parts(&error);
        self.bad(what, cure);
    }

    /// What could not be asked for is not known; what AWS refused is bad.
    fn failed(&self, what: &str, error: &CloudError) {
        let (seen, cure) = parts(error);
        if is_denied(error) || error.retry == Retry::Later {
            self.warn(format!("{what} could not be looked at: {seen}"), cure);
        } else {
            self.bad(format!("{what}: {seen}"), cure);
        }
    }

    /// An error of another service than EC2 in people's words.
    fn explain<E>(
        &self,
        service: &'static str,
        operation: &'static str,
        error: SdkError<E, aws_sdk_ec2::config::http::HttpResponse>,
    ) -> CloudError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        Asked { service, operation, region: self.ec2.region() }.explain(error)
    }
}

/// What was seen, and what to do: the first sentence of an error says the one, what follows the other.
fn parts(error: &CloudError) -> (String, String) {
    let sentence = error.sentence.trim_end_matches('.');
    let (what, cure) = sentence
        .split_once(". ")
        .or_else(|| {
            sentence.split_once(": set ").map(|_| sentence.split_once(": ").unwrap_or((sentence, "")))
        })
        .unwrap_or((
            sentence,
            match error.retry {
                Retry::Later => "run it again in a moment; if that stays, AWS's Health Dashboard may say why",
                _ => "look in AWS's console what it is about",
            },
        ));
    (what.to_owned(), cure.to_owned())
}

/// `a`, `a and b`, `a, b and c`.
fn listed<T: AsRef<str>>(words: &[T]) -> String {
    match words {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [some @ .., last] => {
            let some: Vec<_> = some.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", some.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_seen_and_what_to_do() {
        let told = |sentence: &str| parts(&CloudError::never(sentence));
        assert_eq!(
            told("There is no key pair of that name. The admin creates it."),
            ("There is no key pair of that name".to_owned(), "The admin creates it".to_owned())
        );
        assert_eq!(
            told("There is no default VPC in eu-west-1: set SUBNET_IDS to the subnets."),
            ("There is no default VPC in eu-west-1".to_owned(), "set SUBNET_IDS to the subnets".to_owned())
        );
        assert!(parts(&CloudError::later("AWS did not answer.")).1.starts_with("run it again"));
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        assert_eq!(listed(&["a"]), "a");
    }
}
