//! Projects that nobody prepared.

use reqwest::StatusCode;

use crate::{person::Person, repository::Repository, site::Site};

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_startproject_comes_up_right_untouched_and_so_does_one_with_requirements_in_utf_16() {
    let (site, mira) = Site::start("plain").await;
    let plain = Repository::of(&site, "plain", "tests/machines/projects/plain");
    let powershell = Repository::of(&site, "powershell", "tests/machines/projects/plain");
    let utf16: Vec<u8> =
        "\u{feff}Django==5.2.8\r\nsqlparse\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    powershell.commit("Freeze", &[("requirements.txt", &utf16)]);

    let names = tokio::join!(mira.deploy(&plain.url, "mysite"), async {
        let fields =
            [("github_url", powershell.url.as_str()), ("project_name", "mysite"), ("name", "powershell")];
        let answer = mira.post("/instances/new", &fields).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        "powershell".to_owned()
    });
    for name in [names.0, names.1] {
        mira.until(&name, "live", 240).await;
        let visitor = Person::new(&mira.address(&name).await);
        // Django's own welcome page is for DEBUG only: the project has no page of its own at /.
        assert_eq!(visitor.get("/").await.status, StatusCode::NOT_FOUND);
        let admin = visitor.get("/admin/login/").await;
        assert_eq!(admin.status, StatusCode::OK, "{}", admin.text);
        let css = visitor.get("/static/admin/css/base.css").await;
        assert_eq!(css.status, StatusCode::OK);
        assert!(css.text.contains("DJANGO Admin styles") || css.text.contains("--primary"), "{}", css.text);
    }
    let version = site
        .exec(
            mira.info("powershell").await["instance_id"].as_str().unwrap(),
            &["bash", "-c", "ls -d /srv/app/current/venv/lib/python3*/site-packages/django-*.dist-info"],
        )
        .await;
    assert!(version.contains("django-5.2.8"), "{version}");
}
