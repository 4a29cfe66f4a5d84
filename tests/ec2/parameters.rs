//! `ec-deployer parameters`: the site's settings out of Parameter Store.

use crate::admin::Admin;

fn put(admin: &Admin, name: &str, kind: &str, value: &str) {
    admin.aws(&["ssm", "put-parameter", "--name", name, "--type", kind, "--value", value]);
}

#[test]
fn settings_of_several_pages_are_printed_sorted_and_decrypted() {
    let admin = Admin::new();
    let mut expected = Vec::new();
    for n in 0..11 {
        put(&admin, &format!("/many/site/SETTING_{n:02}"), "String", &format!("value {n}"));
        expected.push(format!("SETTING_{n:02}=value {n}\n"));
    }
    put(&admin, "/many/site/A_SECRET", "SecureString", "a=b 'c' \"$d\"");
    expected.insert(0, "A_SECRET=a=b 'c' \"$d\"\n".to_owned());
    // Neither below the path itself.
    put(&admin, "/many/site/deeper/OTHER", "String", "other");
    put(&admin, "/many/site2/OTHER", "String", "other");
    for path in ["/many/site", "/many/site/"] {
        assert_eq!(admin.well(&["parameters", path]), expected.concat());
    }
}

#[test]
fn a_parameter_that_is_no_setting_prints_nothing_and_is_named() {
    let admin = Admin::new();
    put(&admin, "/bad-name/GOOD", "String", "hidden");
    put(&admin, "/bad-name/lower", "SecureString", "hidden");
    put(&admin, "/bad-value/GOOD", "String", "hidden");
    put(&admin, "/bad-value/LINES", "SecureString", "hidden\nLISTEN=0.0.0.0:80");
    for (path, name) in [("/bad-name/", "/bad-name/lower"), ("/bad-value/", "/bad-value/LINES")] {
        let told = admin.ill(&["--log-format", "json", "parameters", path]);
        assert!(told.contains(name) && !told.contains("hidden"), "{told}");
    }
    let told = admin.ill(&["parameters", "/nothing/here"]);
    assert!(told.contains("there is no parameter below /nothing/here/ in ap-northeast-3"), "{told}");
    let told = admin.ill(&["parameters", "site"]);
    assert!(told.contains("is no path of parameters"), "{told}");
    let told = admin.ill(&["parameters", "/"]);
    assert!(told.contains("is no path of parameters"), "{told}");
}
