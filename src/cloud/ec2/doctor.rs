//! What a look at the account finds.

use tokio::sync::mpsc;

use super::Ec2;
use crate::cloud::Finding;

impl Ec2 {
    /// Looks whether machines can run in the account, and tells what it finds as it comes.
    pub async fn examine(&self, findings: mpsc::UnboundedSender<Finding>) {
        let found = match self.prepare().await {
            Ok(()) => Finding::ok(format!("EC2 in {} answers", self.region())),
            Err(error) => Finding::bad("EC2 cannot be asked", error.sentence),
        };
        // Whoever asked may be gone.
        let _ = findings.send(found);
    }
}
