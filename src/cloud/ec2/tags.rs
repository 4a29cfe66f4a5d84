//! The tags by which this site knows what it has in an account.

use aws_sdk_ec2::types::{Filter, ResourceType, Tag, TagSpecification};

use super::Ec2;
use crate::cloud::LaunchRequest;

/// Whose it is: the random id of the site's database.
pub const SITE: &str = "ec-deployer:site";
/// The name of the instance.
pub const INSTANCE: &str = "ec-deployer:instance";
/// The launch token.
pub const TOKEN: &str = "ec-deployer:token";
/// The number of the golden image that a builder is to make.
pub const BAKE: &str = "ec-deployer:bake";
/// The number of a golden image.
pub const IMAGE: &str = "ec-deployer:image";
/// Whether machines may boot from an image: [`BAKING`] or [`GOOD`].
pub const STATE: &str = "ec-deployer:state";
/// An image that is not complete, or of which that is not known.
pub const BAKING: &str = "baking";
/// A complete image.
pub const GOOD: &str = "good";
/// What a person sees first in AWS's console.
pub const NAME: &str = "Name";
/// By what a thing was made.
pub const MANAGED_BY: &str = "ManagedBy";
/// This product.
pub const MANAGER: &str = "ec-deployer";

/// The tags of a machine and of all that belongs to it.
pub fn of(request: &LaunchRequest) -> Vec<Tag> {
    vec![
        tag(NAME, request.instance.as_str()),
        tag(MANAGED_BY, MANAGER),
        tag(SITE, &request.site),
        tag(INSTANCE, request.instance.as_str()),
        tag(TOKEN, &request.token),
    ]
}

/// One tag.
pub fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// These tags on every resource of this kind that a request makes.
pub fn on(kind: ResourceType, tags: &[Tag]) -> TagSpecification {
    TagSpecification::builder().resource_type(kind).set_tags(Some(tags.to_vec())).build()
}

/// What carries a tag of this value.
pub fn with(key: &str, value: &str) -> Filter {
    filter(&format!("tag:{key}"), [value])
}

/// What has one of these values.
pub fn filter<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.into_iter().map(str::to_owned).collect())).build()
}

/// The value of a tag.
pub fn value<'a>(tags: &'a [Tag], key: &str) -> Option<&'a str> {
    tags.iter().find(|tag| tag.key() == Some(key)).and_then(Tag::value)
}

impl Ec2 {
    /// What is this site's.
    pub(super) fn ours(&self) -> Filter {
        with(SITE, &self.0.config.site)
    }

    /// Whether these are the tags of something of this site's.
    pub(super) fn is_ours(&self, tags: &[Tag]) -> bool {
        value(tags, SITE) == Some(self.0.config.site.as_str())
    }
}
