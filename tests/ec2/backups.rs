//! Backups in S3.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Stdio,
};

use crate::admin::Admin;

fn site() -> Admin {
    let admin = Admin::new();
    let mut command = admin.program(&["user", "add", "mira", "--admin", "--password-stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"correct horse battery staple\n").unwrap();
    assert!(child.wait().unwrap().success());
    admin
}

fn bucket(admin: &Admin, name: &str) {
    admin.aws(&["s3", "mb", &format!("s3://{name}")]);
}

#[test]
fn a_backup_goes_to_a_bucket_and_comes_back() {
    let (admin, other) = (site(), Admin::new());
    bucket(&admin, "backups-1");
    // Somebody else's, and another site's, which are not removed.
    let of_others = ["site/mine.tar.gz", "site/deeper/ec-deployer-20200101T000000Z.tar.gz"];
    for key in of_others {
        admin.aws(&["s3api", "put-object", "--bucket", "backups-1", "--key", key]);
    }
    let mut made = Vec::new();
    for _ in 0..3 {
        let told = admin.well(&["backup", "s3://backups-1/site/", "--keep", "2"]);
        made.push(told.lines().next().unwrap().to_owned());
        assert_eq!(told.contains("removed "), made.len() == 3, "{told}");
    }
    let there = admin.aws(&["s3", "ls", "--recursive", "s3://backups-1"]);
    assert_eq!(there.lines().count(), 4, "{there}");
    for key in of_others.into_iter().chain(made[1..].iter().map(|made| &made["s3://backups-1/".len()..])) {
        assert!(there.contains(key), "{key} in {there}");
    }
    let told = other.well(&["restore", &made[2]]);
    assert!(told.contains("with 1 person"), "{told}");
    assert!(other.well(&["user", "list"]).contains("mira"));

    admin.well(&["backup", "s3://backups-1/one.tar.gz"]);
    let told = other.well(&["restore", "s3://backups-1/one.tar.gz"]);
    assert!(told.contains("What was there before is in"), "{told}");
}

#[test]
fn what_is_not_in_s3_is_said() {
    let admin = site();
    for words in [["backup", "s3://no-such-bucket-1/site/"], ["restore", "s3://no-such-bucket-1/x.tar.gz"]] {
        let told = admin.ill(&words);
        assert!(told.contains("there is no bucket no-such-bucket-1"), "{told}");
    }
    bucket(&admin, "backups-2");
    let missing = "s3://backups-2/x.tar.gz";
    let told = admin.ill(&["restore", missing]);
    assert!(told.contains(&format!("there is no {missing}")), "{told}");
    let told = admin.ill(&["restore", "s3://backups-2/site/"]);
    assert!(told.contains("name one backup"), "{told}");
    assert!(admin.well(&["user", "list"]).contains("mira"));
}

#[test]
fn a_backup_that_has_no_room_is_not_fetched() {
    let admin = site();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // A bucket that says it has more than any disk, and sends none of it.
    let bucket = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let asked: Vec<_> = lines.map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1_u64 << 43).unwrap();
        asked[0].clone()
    });
    let mut command = admin.program(&["restore", "s3://backups-3/x.tar.gz"]);
    let output = command.env("AWS_ENDPOINT_URL_S3", url).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && told.contains("too little room: this backup takes 8796093"),
        "{told}"
    );
    assert!(bucket.join().unwrap().starts_with("GET /backups-3/x.tar.gz"));
}
