//! The machines' instance profile: by its role Systems Manager runs scripts on them.

use super::Look;
use crate::cloud::ec2::errors::is_denied;

/// The policy of AWS's own that lets Systems Manager reach a machine.
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/setup-instance-permissions.html>
const CORE: &str = "AmazonSSMManagedInstanceCore";

impl Look<'_> {
    /// Looks at the profile and its role.
    pub async fn role(&self) {
        let Some(name) = &self.ec2.0.config.instance_profile else {
            return self.warn(
                "machines get no instance profile from here: without one Systems Manager does not reach them, and nothing can be deployed again, nor logs and data fetched",
                format!("make a role of EC2 with the policy {CORE}, and set INSTANCE_PROFILE to its name"),
            );
        };
        let told = match self.ec2.0.iam.get_instance_profile().instance_profile_name(name).send().await {
            Ok(told) => told,
            Err(error) => {
                let error = self.explain("iam", "GetInstanceProfile", error);
                if is_denied(&error) {
                    return self.warn(
                        format!("the instance profile {name} could not be looked at: this site is not allowed iam:GetInstanceProfile on it"),
                        format!("see that its role has the policy {CORE}, and put its name into the site's IAM policy in the place of ec-deployer-machine"),
                    );
                }
                return self.failed(&format!("the instance profile {name}"), &error);
            }
        };
        let roles = told.instance_profile.map(|profile| profile.roles).unwrap_or_default();
        let Some(role) = roles.first().map(|role| role.role_name.clone()) else {
            return self.bad(
                format!("the instance profile {name} has no role"),
                format!("aws iam add-role-to-instance-profile --instance-profile-name {name} --role-name with a role of EC2 that has the policy {CORE}"),
            );
        };
        let attached = self.ec2.0.iam.list_attached_role_policies().role_name(&role).send().await;
        match attached {
            Ok(told) => {
                let has = told.attached_policies().iter().any(|policy| policy.policy_name() == Some(CORE));
                if has {
                    self.ok(format!(
                        "the instance profile {name} has the role {role} with the policy {CORE}"
                    ));
                } else {
                    self.warn(
                        format!("the role {role} of the instance profile {name} does not have the policy {CORE}: Systems Manager does not reach machines, unless a policy of your own allows them as much"),
                        format!("aws iam attach-role-policy --role-name {role} --policy-arn arn:aws:iam::aws:policy/{CORE}"),
                    );
                }
            }
            Err(error) => {
                let error = self.explain("iam", "ListAttachedRolePolicies", error);
                self.failed(&format!("the policies of the role {role}"), &error);
            }
        }
    }
}
