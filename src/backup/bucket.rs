//! Backups in S3. Region, credentials and endpoint come from the usual chain of AWS; how a bucket encrypts what is in
//! it is the bucket's own setting.

use std::path::Path;

use aws_sdk_s3::{Client, primitives::ByteStream};
use tokio::io::AsyncWriteExt;

use super::{About, BackupError, in_megabytes, room, scratch};
use crate::cloud::ec2::{Asked, Requests, code};

/// Most bytes that S3 takes in one piece.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html>
const LARGEST: u64 = 5 * 1024 * 1024 * 1024;

/// S3, as this host reaches it.
pub(super) struct S3 {
    client: Client,
    region: String,
}

impl S3 {
    pub async fn new() -> Self {
        let aws = aws_config::load_from_env().await;
        // Another endpoint than AWS's own has no name for each bucket.
        let elsewhere = aws.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
        let config =
            aws_sdk_s3::config::Builder::from(&aws).force_path_style(elsewhere).interceptor(Requests).build();
        let region = aws.region().map_or("no region: set AWS_REGION", |region| region.as_ref()).to_owned();
        Self { client: Client::from_conf(config), region }
    }

    fn asked(&self, operation: &'static str) -> Asked<'_> {
        Asked { service: "s3", operation, region: &self.region }
    }

    /// Uploads a file; false where there is one of that name and it must be `new`.
    pub async fn put(&self, bucket: &str, key: &str, file: &Path, new: bool) -> Result<bool, BackupError> {
        let size = tokio::fs::metadata(file).await.about(file)?.len();
        if size > LARGEST {
            return Err(BackupError::Refused(format!(
                "the backup has {}, and S3 takes 5 GB in one piece: back up into a directory, and copy it by `aws s3 cp`",
                in_megabytes(size)
            )));
        }
        let body = ByteStream::from_path(file)
            .await
            .map_err(|error| BackupError::Refused(format!("the backup cannot be read: {error}")))?;
        let request =
            self.client.put_object().bucket(bucket).key(key).body(body).content_type("application/gzip");
        let request = if new { request.if_none_match("*") } else { request };
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) if new && code(&error) == Some("PreconditionFailed") => Ok(false),
            Err(error) => Err(self.failed("PutObject", bucket, error)),
        }
    }

    /// The names directly below a prefix.
    pub async fn names(&self, bucket: &str, prefix: &str) -> Result<Vec<String>, BackupError> {
        let request = self.client.list_objects_v2().bucket(bucket).prefix(prefix).delimiter("/");
        let mut pages = request.into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed("ListObjectsV2", bucket, error))?;
            let keys = page.contents().iter().filter_map(|object| object.key());
            names.extend(keys.filter_map(|key| key.strip_prefix(prefix)).map(str::to_owned));
        }
        Ok(names)
    }

    pub async fn delete(&self, bucket: &str, key: &str) -> Result<(), BackupError> {
        let request = self.client.delete_object().bucket(bucket).key(key);
        request.send().await.map_err(|error| self.failed("DeleteObject", bucket, error))?;
        Ok(())
    }

    /// Downloads into a file.
    pub async fn get(&self, bucket: &str, key: &str, to: &Path) -> Result<(), BackupError> {
        let answer = self.client.get_object().bucket(bucket).key(key).send().await;
        let answer = answer.map_err(|error| match code(&error) {
            Some("NoSuchKey") => BackupError::Refused(format!("there is no s3://{bucket}/{key}")),
            _ => self.failed("GetObject", bucket, error),
        })?;
        if let Some(size) = answer.content_length().and_then(|size| u64::try_from(size).ok()) {
            room::check(to.parent().unwrap_or(to), "this backup", size)?;
        }
        let mut file = tokio::fs::File::from_std(scratch::create(to)?);
        let mut body = answer.body;
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| {
                BackupError::Refused(format!("s3://{bucket}/{key} broke off as it was fetched: {error}"))
            })?;
            file.write_all(&bytes).await.about(to)?;
        }
        file.flush().await.about(to)
    }

    fn failed<E>(
        &self,
        operation: &'static str,
        bucket: &str,
        error: aws_sdk_s3::error::SdkError<E>,
    ) -> BackupError
    where
        E: aws_sdk_s3::error::ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let sentence = match code(&error) {
            Some("NoSuchBucket") => format!("there is no bucket {bucket}"),
            Some(
                "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException",
            ) => {
                format!(
                    "the bucket {bucket} is in another region than {}: set AWS_REGION to that of the bucket",
                    self.region
                )
            }
            _ => format!("the bucket {bucket}: {}", self.asked(operation).explain(error)),
        };
        BackupError::Refused(sentence)
    }
}
