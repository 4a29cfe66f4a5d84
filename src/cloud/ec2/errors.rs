//! What AWS answers, in people's words: each error with its cure, and whether asking again can help.
//! Codes: <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-error-codes.html>.

use std::{error::Error, sync::LazyLock};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::{
    config::http::HttpResponse,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};
use regex::Regex;

use crate::cloud::{CloudError, Retry};

/// Says which request an error is of, so that a missing permission can be named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The service's prefix in IAM: `ec2`.
    pub service: &'static str,
    /// The request's name, which is also its action in IAM: `RunInstances`.
    pub operation: &'static str,
    /// The region that was asked.
    pub region: &'a str,
}

/// How the sentence of a missing permission begins.
const DENIED: &str = "This site is not allowed";

/// Whether it was a missing permission that kept something from being done.
pub(super) fn is_denied(error: &CloudError) -> bool {
    error.sentence.contains(DENIED)
}

/// The code of an error that the service itself answered with.
pub(crate) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

impl Asked<'_> {
    /// An error of the SDK in people's words. Whatever is not known to be a refusal may have gone through.
    pub fn explain<E>(self, error: SdkError<E, HttpResponse>) -> CloudError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let told = match &error {
            SdkError::ServiceError(answer) => {
                let (code, message) = (answer.err().code(), answer.err().message());
                let told = self.answered(code.unwrap_or_default(), message.unwrap_or_default());
                let status = answer.raw().status().as_u16();
                // What fails by itself, or has no time, may have gone through, whatever it calls that.
                let unsure = status >= 500 || matches!(status, 408 | 429);
                if unsure && told.retry == Retry::Never {
                    CloudError::later("AWS has a failure of its own.")
                } else {
                    told
                }
            }
            SdkError::TimeoutError(_) => {
                CloudError::later(format!("AWS did not answer {} in time.", self.operation))
            }
            _ if lacks_credentials(&error) => CloudError::later(
                "This site has no credentials of AWS. Give its server an instance profile, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
            ),
            SdkError::DispatchFailure(_) => CloudError::later(format!(
                "This site does not reach {} in {}. Is the region's name right (AWS_REGION), and does a firewall or proxy keep https closed?",
                self.service.to_uppercase(),
                self.region
            )),
            _ => CloudError::later(format!(
                "AWS answered {} with something that cannot be read.",
                self.operation
            )),
        };
        match error {
            // It holds the whole answer, and some answers repeat what was sent.
            SdkError::ResponseError(_) => told.because("the answer cannot be read"),
            error => told.because(DisplayErrorContext(error).to_string()),
        }
    }

    /// An error that the service itself answered with.
    fn answered(self, code: &str, message: &str) -> CloudError {
        let Self { operation, region, .. } = self;
        match code {
            "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
                let action =
                    denied_action(message).unwrap_or_else(|| format!("{}:{operation}", self.service));
                CloudError::never(format!(
                    "{DENIED} {action}. Its admin adds that to the site's IAM policy (infra/policy.json has all that it needs)."
                ))
            }
            "AuthFailure"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken" => CloudError::never(
                "AWS does not accept this site's credentials. Its admin looks whether the access key is right and active.",
            ),
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => CloudError::later(
                "This site's credentials of AWS have expired. Its admin renews them; where they are an instance profile's, the server's clock may be wrong.",
            )
            .for_certain(),
            "OptInRequired" | "PendingVerification" | "Blocked" => CloudError::never(format!(
                "The AWS account cannot use this service yet: {}",
                sentence(message)
            )),
            "RequestLimitExceeded"
            | "Throttling"
            | "ThrottlingException"
            | "RequestThrottled"
            | "EC2ThrottledException"
            | "ConcurrentTagAccess" => {
                CloudError::later("AWS takes no more requests of this account for the moment.").for_certain()
            }
            "InsufficientInstanceCapacity"
            | "InsufficientHostCapacity"
            | "InsufficientCapacity"
            | "Unsupported"
            | "InsufficientFreeAddressesInSubnet" => elsewhere(code, message),
            "InvalidAMIID.NotFound" | "InvalidAMIID.Unavailable" | "InvalidAMIID.Malformed" => {
                CloudError::never(
                    "The golden image is not there any more. An admin bakes a new one on the page Images, or sets GOLDEN_AMI to one that is in this region.",
                )
            }
            "VcpuLimitExceeded" | "InstanceLimitExceeded" => CloudError::never(
                "The AWS account may run no more machines of this kind. Terminate one, choose a smaller instance type, or have the limit raised: Service Quotas, Amazon EC2, Running On-Demand Standard instances.",
            ),
            "AddressLimitExceeded" => CloudError::never(
                "The AWS account may hold no more Elastic IPs. Release one, set ELASTIC_IP=false, or have the limit raised: Service Quotas, EC2-VPC Elastic IPs.",
            ),
            "IdempotentParameterMismatch" => {
                CloudError::never("AWS knows this launch by another request. Choose Try again: it asks anew.")
            }
            "IdempotentInstanceTerminated" => CloudError::never(
                "The machine of this launch was terminated outside this site. Choose Try again: it asks anew.",
            ),
            "InvalidUserData.Malformed" => CloudError::never(format!(
                "AWS does not take the machine's user data, which may have 16 KB at most: {}",
                sentence(message)
            )),
            "InvalidParameterValue" if message.contains("User data is limited") => CloudError::never(
                "The machine's user data is larger than the 16 KB that AWS takes. Shorten the instance's values, such as its repository's URL.",
            ),
            "InvalidParameterValue" | "NoSuchEntity" if says(message, "instance ?profile") => {
                CloudError::never(
                    "There is no instance profile of the name in INSTANCE_PROFILE. Its admin creates it or corrects the setting.",
                )
            }
            "InvalidInstanceType" | "InvalidInstanceType.NotFound" => no_type(region),
            "InvalidParameterValue" if says(message, "instance ?type") => no_type(region),
            "InvalidSubnetID.NotFound" | "InvalidSubnet" => CloudError::never(format!(
                "A subnet of SUBNET_IDS is not in {region}. The site's admin corrects the setting."
            )),
            "InvalidGroup.NotFound" | "InvalidGroupId.Malformed" | "InvalidSecurityGroupID.NotFound" => {
                CloudError::never(format!(
                    "A security group of SECURITY_GROUP_IDS is not in {region}, or not in the subnet's VPC. The site's admin corrects the setting."
                ))
            }
            "InvalidKeyPair.NotFound" => CloudError::never(format!(
                "There is no key pair of the name in KEY_PAIR in {region}. The site's admin creates it or corrects the setting."
            )),
            "VPCIdNotSpecified" | "DefaultVpcDoesNotExist" | "MissingInput" => CloudError::never(format!(
                "There is no default VPC in {region}: set SUBNET_IDS to the subnets that machines are to run in."
            )),
            "OperationNotPermitted" if says(message, "disableApiTermination|termination protection") => {
                CloudError::never(
                    "The machine is protected from termination. Turn its termination protection off in AWS's console, then terminate it again.",
                )
            }
            "OperationNotPermitted" if says(message, "disableApiStop|stop protection") => CloudError::never(
                "The machine is protected from being stopped. Turn its stop protection off in AWS's console, then stop it again.",
            ),
            _ if code.starts_with("InvalidLaunchTemplate") => CloudError::never(format!(
                "The launch template of LAUNCH_TEMPLATE, or its version, is not in {region}. The site's admin corrects the setting."
            )),
            "IncorrectInstanceState" => CloudError::later("The machine is busy with something else."),
            "InvalidInstanceID.NotFound" | "InvalidInstanceID.Malformed" => {
                CloudError::later("AWS does not know the machine.")
            }
            "InternalError"
            | "InternalFailure"
            | "InternalServerError"
            | "ServiceUnavailable"
            | "Unavailable"
            | "ServerInternal"
            | "RequestTimeout"
            | "" => CloudError::later("AWS has a failure of its own."),
            _ => CloudError::never(format!("AWS refused {operation}: {} ({code})", sentence(message))),
        }
    }
}

/// A zone has not what another may have.
fn elsewhere(code: &str, message: &str) -> CloudError {
    let sentence = match code {
        "InsufficientFreeAddressesInSubnet" => {
            "No subnet has an address left. Add one to SUBNET_IDS, or terminate a machine.".to_owned()
        }
        "Unsupported" => format!(
            "No subnet is in a zone that has this instance type: {} Choose another type.",
            sentence(message)
        ),
        _ => "AWS has no machine of this type left where this site may launch it. Choose another instance type, or Try again later."
            .to_owned(),
    };
    CloudError { retry: Retry::Elsewhere, sentence, certain: true, cause: None }
}

fn no_type(region: &str) -> CloudError {
    CloudError::never(format!(
        "There is no such instance type in {region}, or it does not fit the golden image's architecture. Choose another; the site's admin corrects INSTANCE_TYPES."
    ))
}

fn says(message: &str, pattern: &str) -> bool {
    Regex::new(&format!("(?i){pattern}")).is_ok_and(|pattern| pattern.is_match(message))
}

/// The action that a refusal names: `User: … is not authorized to perform: ec2:RunInstances on resource: …`.
fn denied_action(message: &str) -> Option<String> {
    static NAMED: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"not authorized to perform: ([a-z0-9-]+:[A-Za-z0-9]+)").ok());
    let found = NAMED.as_ref()?.captures(message)?;
    Some(found[1].to_owned())
}

/// AWS's own words as one sentence: without what only its support can read, and not longer than people read.
fn sentence(message: &str) -> String {
    const LONGEST: usize = 240;
    let shown = message.split("Encoded authorization failure message").next().unwrap_or_default().trim();
    let mut short: String = shown.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if !short.ends_with(['.', '!', '?']) {
        short.push('.');
    }
    short
}

/// Whether no provider of credentials had any, anywhere among an error's causes.
fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<CredentialsError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAUNCH: Asked<'_> = Asked { service: "ec2", operation: "RunInstances", region: "eu-central-1" };

    #[test]
    fn a_missing_permission_is_named() {
        let message = "You are not authorized to perform this operation. User: arn:aws:iam::1:user/site is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/x. Encoded authorization failure message: AbCd";
        let told = LAUNCH.answered("UnauthorizedOperation", message);
        assert!(told.sentence.contains("iam:PassRole") && !told.sentence.contains("AbCd"), "{told}");
        let told =
            LAUNCH.answered("UnauthorizedOperation", "You are not authorized to perform this operation.");
        assert!(told.sentence.contains("ec2:RunInstances"), "{told}");
        assert!(is_denied(&told) && !is_denied(&LAUNCH.answered("InternalError", "")));
    }

    #[test]
    fn errors_are_classed() {
        use Retry::{Elsewhere, Later, Never};
        for (code, message, retry, word) in [
            ("ExpiredToken", "", Later, "expired"),
            ("AuthFailure", "", Never, "access key"),
            ("InvalidAMIID.NotFound", "", Never, "GOLDEN_AMI"),
            ("InsufficientInstanceCapacity", "", Elsewhere, "another instance type"),
            ("InsufficientFreeAddressesInSubnet", "", Elsewhere, "SUBNET_IDS"),
            ("VcpuLimitExceeded", "", Never, "Service Quotas"),
            ("RequestLimitExceeded", "", Later, "no more requests"),
            ("InvalidParameterValue", "User data is limited to 16384 bytes", Never, "16 KB"),
            (
                "InvalidParameterValue",
                "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
                Never,
                "INSTANCE_PROFILE",
            ),
            ("InvalidParameterValue", "Invalid value 'x9.huge' for InstanceType.", Never, "INSTANCE_TYPES"),
            (
                "OperationNotPermitted",
                "The instance may not be terminated. Modify its 'disableApiTermination' instance attribute",
                Never,
                "protection",
            ),
            ("InternalError", "", Later, "failure of its own"),
            ("SomethingNew", "What is\nthis", Never, "What isthis. (SomethingNew)"),
        ] {
            let told = LAUNCH.answered(code, message);
            assert_eq!(told.retry, retry, "{code}");
            assert!(told.sentence.contains(word), "{code}: {told}");
        }
    }
}
