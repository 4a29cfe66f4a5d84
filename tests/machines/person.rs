//! A person at a browser: pages by GET, forms as they are on the page, with its cookie and CSRF token.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::{
    Client, StatusCode,
    cookie::{CookieStore, Jar},
    header::LOCATION,
    redirect::Policy,
};
use serde_json::Value;
use url::form_urlencoded;

/// How often a page is looked at while something is awaited.
const LOOK: Duration = Duration::from_millis(200);

pub struct Person {
    client: Client,
    jar: Arc<Jar>,
    site: String,
}

pub struct Page {
    pub status: StatusCode,
    pub location: Option<String>,
    pub text: String,
}

impl Person {
    pub fn new(site: &str) -> Self {
        let jar = Arc::new(Jar::default());
        let client = Client::builder()
            .cookie_provider(jar.clone())
            .redirect(Policy::none())
            .timeout(Duration::from_secs(60))
            .no_proxy()
            .build()
            .unwrap();
        Self { client, jar, site: site.to_owned() }
    }

    /// The cookies that go with a request to an address.
    #[allow(dead_code, reason = "measurements ask for it")]
    pub fn cookies(&self, url: &str) -> String {
        let cookies = self.jar.cookies(&url.parse().unwrap());
        cookies.map(|cookies| cookies.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    pub async fn get(&self, path: &str) -> Page {
        let url = if path.starts_with("http://") { path.to_owned() } else { format!("{}{path}", self.site) };
        read(self.client.get(url).send().await.unwrap()).await
    }

    /// Downloads a file.
    pub async fn download(&self, path: &str, to: &std::path::Path) {
        let answer = self.client.get(format!("{}{path}", self.site)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        std::fs::write(to, answer.bytes().await.unwrap()).unwrap();
    }

    /// The status of a page of a server that may not be up yet.
    pub async fn try_get(&self, path: &str) -> Option<StatusCode> {
        let answer =
            self.client.get(format!("{}{path}", self.site)).timeout(Duration::from_secs(5)).send().await;
        answer.ok().map(|answer| answer.status())
    }

    /// Opens the page, fills its form and sends it.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.post_from(path, path, fields).await
    }

    /// Fills the form that is on one page and posts to another path.
    pub async fn post_from(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> Page {
        let form = self.get(page).await;
        let token =
            hidden(&form.text, "csrf_token").unwrap_or_else(|| panic!("no form on {page}:\n{}", form.text));
        let fields: Vec<_> =
            [("csrf_token", token.as_str())].into_iter().chain(fields.iter().copied()).collect();
        self.post_to(&format!("{}{path}", self.site), &fields).await
    }

    /// Posts fields to an address, as they are.
    pub async fn post_to(&self, url: &str, fields: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request =
            self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
        read(request.send().await.unwrap()).await
    }

    pub async fn set_up(&self, link: &str, username: &str, password: &str) {
        let path = link.strip_prefix(&self.site).expect("a link on this site");
        let answer = self.post_from(path, path, &[("username", username), ("password", password)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    }

    pub async fn sign_in(&self, username: &str, password: &str) {
        let answer = self.post("/login", &[("username", username), ("password", password)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    }

    /// Sends the form of a new instance and gives the instance's name.
    pub async fn deploy(&self, repository: &str, project: &str) -> String {
        let fields = [("github_url", repository), ("project_name", project)];
        let answer = self.post("/instances/new", &fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        answer.location.unwrap().rsplit('/').next().unwrap().to_owned()
    }

    /// Sends the form that Deploy again has filled in.
    pub async fn deploy_again(&self, name: &str) -> String {
        let path = format!("/instances/{name}/edit");
        let form = self.get(&path).await.text;
        let value = |field| hidden(&form, field).unwrap_or_default();
        let (version, url, project) = (value("version"), value("github_url"), value("project_name"));
        let fields = [("version", version.as_str()), ("github_url", &url), ("project_name", &project)];
        let answer = self.post(&path, &fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        answer.location.unwrap().rsplit('/').next().unwrap().to_owned()
    }

    /// Presses Redeploy, or Try again.
    pub async fn redeploy(&self, name: &str) {
        let detail = format!("/instances/{name}");
        let answer = self.post_from(&detail, &format!("{detail}/redeploy"), &[]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    }

    pub async fn terminate(&self, name: &str) {
        let answer = self.post(&format!("/instances/{name}/terminate"), &[("confirm", name)]).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    }

    pub async fn info(&self, name: &str) -> Value {
        let page = self.get(&format!("/instances/{name}/info")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        let info: Value = serde_json::from_str(&page.text).unwrap();
        if let Some(id) = info["instance_id"].as_str() {
            crate::trace::booted(id);
        }
        info
    }

    /// Waits until the instance is as `wish` says; a failure that was not wished for ends it at once, with its log.
    pub async fn wait(&self, name: &str, seconds: u64, wish: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let info = self.info(name).await;
            if wish(&info) {
                return info;
            }
            if info["status"] == "failed" || start.elapsed() > Duration::from_secs(seconds) {
                let log = self.get(&format!("/instances/{name}/log")).await.text;
                panic!("{name} did not get there in {seconds} s: {info:#}\n{log}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the instance has this status.
    pub async fn until(&self, name: &str, status: &str, seconds: u64) -> Value {
        self.wait(name, seconds, |info| info["status"] == status).await
    }

    /// The address of an instance's project.
    pub async fn address(&self, name: &str) -> String {
        let info = self.info(name).await;
        format!("http://{}", info["public_ip"].as_str().expect("a public IP"))
    }
}

async fn read(answer: reqwest::Response) -> Page {
    Page {
        status: answer.status(),
        location: answer.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned()),
        text: answer.text().await.unwrap(),
    }
}

/// The value of a hidden field.
pub fn hidden(page: &str, name: &str) -> Option<String> {
    let at = page.find(&format!("name=\"{name}\""))?;
    let tag = &page[at..at + page[at..].find('>')?];
    let value = tag.split("value=\"").nth(1)?;
    Some(value.split('"').next()?.to_owned())
}
