//! Live means that a visitor sees a page of the project, with its styles.

use serde_json::Value;

use crate::{person::Person, repository::Repository, site::Site};

const URLS: &str = "from django.contrib import admin
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import path


def broken(request):
    raise RuntimeError('the shelf fell down')


def once_more(request):
    if 'seen' in request.COOKIES:
        return HttpResponse('<html><script src=\"/no/such.js\"></script><p>Welcome</p></html>')
    answer = HttpResponseRedirect('/')
    answer.set_cookie('seen', 'yes')
    return answer


def circle(request):
    return HttpResponseRedirect('/')


def to_https(request):
    return HttpResponseRedirect('https://' + request.get_host() + '/')


urlpatterns = [
    ROUTES
    path('admin/', admin.site.urls),
]
";

/// Redeploys with these routes, and gives what came of it.
async fn with_routes(mira: &Person, repository: &Repository, name: &str, routes: &str) -> Value {
    repository.commit(routes, &[("mysite/mysite/urls.py", URLS.replace("ROUTES", routes).as_bytes())]);
    mira.redeploy(name).await;
    let ended =
        |info: &Value| info["status"] == "live" && (info["error"] != Value::Null || info["progress"] == 1.0);
    mira.wait(name, 120, ended).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_visitors_see_as_an_error_is_never_live() {
    let (site, mira) = Site::start("health").await;
    let repository = Repository::of(&site, "pages", "tests/machines/projects/plain");
    let name = mira.deploy(&repository.url, "mysite").await;
    mira.until(&name, "live", 180).await;

    // There is no page at /: that is the project's own way, and its owner is led to one that there is.
    let address = mira.address(&name).await;
    let page = mira.get(&format!("/instances/{name}")).await.text;
    let link = format!("your project has no page at /, try <a href=\"{address}/admin/\"");
    assert!(page.contains(&link), "{page}");
    assert!(page.contains("<strong>/admin/</strong> answers, styles included"), "{page}");

    for (routes, cause) in [
        ("path('', broken),", "The page `/` answers 500."),
        ("path('', circle),", "sends visitors on to where nothing answers"),
        ("path('', to_https),", "sends visitors on to where nothing answers"),
        ("path('admin/login/', broken),", "The page `/admin/login/` answers 500."),
    ] {
        let failed = with_routes(&mira, &repository, &name, routes).await;
        assert_eq!(failed["error"]["step"], "health", "{routes}: {failed:#}");
        assert!(
            failed["error"]["cause"].as_str().is_some_and(|told| told.contains(cause)),
            "{routes}: {failed:#}"
        );
    }
    let log = mira.get(&format!("/instances/{name}/log")).await.text;
    assert!(log.contains("RuntimeError: the shelf fell down"), "{log}");

    let live = with_routes(&mira, &repository, &name, "path('', once_more),").await;
    assert_eq!(live["error"], Value::Null, "{live:#}");
    let page = mira.get(&format!("/instances/{name}")).await.text;
    assert!(page.contains("<strong>/</strong> answers 200"), "{page}");
    assert!(page.contains("The script /no/such.js answers 404 as text/html"), "{page}");
}
