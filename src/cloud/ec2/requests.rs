//! One line in the log for each request to AWS: what was asked of which service, what was answered, how long it
//! took, and AWS's number of it, which its support asks for. Never what was sent: user data and credentials are
//! in it.

use std::time::Instant;

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
        },
        orchestrator::Metadata,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};

/// Writes the lines.
#[derive(Debug)]
pub(crate) struct Requests;

/// When a request was sent.
#[derive(Debug)]
struct Sent(Instant);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Requests {
    fn name(&self) -> &'static str {
        "requests"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().store_put(Sent(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(of) = bag.load::<Metadata>() else { return Ok(()) };
        let took = bag.load::<Sent>().map(|sent| sent.0.elapsed().as_millis());
        let answer = context.response();
        let header = |name| answer.and_then(|answer| answer.headers().get(name)).unwrap_or("");
        tracing::debug!(
            service = of.service(),
            operation = of.name(),
            status = answer.map(|answer| answer.status().as_u16()),
            took_ms = took,
            request_id = if header("x-amzn-requestid").is_empty() {
                header("x-amz-request-id")
            } else {
                header("x-amzn-requestid")
            },
            "asked AWS"
        );
        Ok(())
    }
}
