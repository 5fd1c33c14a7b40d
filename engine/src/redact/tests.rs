//! In both directions: what must be blanked, and what must stay readable.

use super::*;

fn shown(argv: &[&str]) -> Vec<String> {
    redact(&argv.iter().map(|a| a.as_bytes().to_vec()).collect::<Vec<_>>(), &[])
}

fn line(line: &str) -> String {
    shown(&line.split(' ').collect::<Vec<_>>()).join(" ")
}

fn script(text: &str) -> String {
    shown(&["sh", "-c", text]).pop().unwrap_or_default()
}

#[test]
fn arguments() {
    for (given, want) in [
        ("curl --token hunter2 x", "curl --token *** x"),
        ("./g.sh --token=hunter2 -o x", "./g.sh --token=*** -o x"),
        ("p --password=0x --pass-phrase hunter2", "p --password=*** --pass-phrase ***"),
        ("gcc -DAPI_KEY=hunter2 -c a.c", "gcc -DAPI_KEY=*** -c a.c"),
        ("gcc -DGITHUB_TOKEN_PROD=hunter2 a.c", "gcc -DGITHUB_TOKEN_PROD=*** a.c"),
        ("mvn -Dgpg.passphrase=hunter2 -Pdb.password=hunter2", "mvn -Dgpg.passphrase=*** -Pdb.password=***"),
        ("curl -u me:hunter2 h", "curl -u me:*** h"),
        ("curl -ume:hunter2 h", "curl -ume:*** h"),
        ("./fetch --user me:hunter2 --user=me:hunter2", "./fetch --user me:*** --user=me:***"),
        ("curl -H PRIVATE-TOKEN: hunter2", "curl -H PRIVATE-TOKEN: ***"),
        ("curl -H Authorization: Bearer hunter2", "curl -H Authorization: Bearer ***"),
        ("env PGPASSWORD=hunter2 psql -h h", "env PGPASSWORD=*** psql -h h"),
        ("mysql -uroot -phunter2 db", "mysql -uroot -p*** db"),
        ("docker login -u me -p hunter2 h", "docker login -u me -p *** h"),
        ("openssl rsa -passin pass:hunter2 -in k.pem", "openssl rsa -passin pass:*** -in k.pem"),
        ("7z a -phunter2 x.7z", "7z a -p*** x.7z"),
        ("sshpass -p hunter2 ssh h", "sshpass -p *** ssh h"),
        ("keytool -storepass hunter2 -alias a", "keytool -storepass *** -alias a"),
        ("nuget push x -ApiKey hunter2", "nuget push x -ApiKey ***"),
        ("git clone https://me:hunter2@host/x", "git clone https://***@host/x"),
        ("git clone https://me:hun/ter2@host/x", "git clone https://***@host/x"),
        ("curl https://h/?a=1&access_token=hunter2&b=2", "curl https://h/?a=1&access_token=***&b=2"),
        ("curl -d {\"user\":\"me\",\"password\":\"hunter2\"}", "curl -d {\"user\":\"me\",\"password\":\"***\"}"),
        ("mount -o username=me,password=hunter2,ro x", "mount -o username=me,password=***,ro x"),
        ("npm config set //h/:_authToken=hunter2", "npm config set //h/:_authToken=***"),
        ("x AKIAQ3EGRIPLCANARY77", "x ***"),
        ("x --a=ghp_0123456789abcdefghijklmnopqrstuvwxyz", "x --a=***"),
        ("x xoxb-1234567890-abcdefghij /glpat-abcdefghij0123456789", "x *** /***"),
        ("make TOKEN=hunter2 API_KEY:=hunter2 all", "make TOKEN=*** API_KEY:=*** all"),
    ] {
        let done = line(given);
        assert_eq!(done, want);
        assert!(!is_whole(&[done]));
    }
    let whole = shown(&[
        "curl",
        "-H",
        "Authorization: Basic aHVudGVyMg==",
        "-HX-Api-Key: hunter2",
        "--password=hun ter2",
        "Cookie: a=b; c=d",
    ]);
    assert_eq!(whole[2..], ["Authorization: Basic ***", "-HX-Api-Key: ***", "--password=***", "Cookie: ***"]);
}

#[test]
fn texts_for_a_shell() {
    for (given, want) in [
        ("API_TOKEN=hunter2 gen -o x", "API_TOKEN=*** gen -o x"),
        ("PGPASSWORD='hun ter2' psql; ls", "PGPASSWORD=*** psql; ls"),
        (
            "curl --token hunter2 -H 'Authorization: Bearer hunter2' u",
            "curl --token *** -H 'Authorization: Bearer ***' u",
        ),
        ("curl -u \"me:hun ter2\" u | sort -u a:b", "curl -u \"me:***\" u | sort -u a:b"),
        ("cd x && ssh h 'TOKEN=hunter2 ./run --password hunter2'", "cd x && ssh h 'TOKEN=***'"),
        ("bash -c \"./run --password hunter2 -v\"", "bash -c \"./run --password *** -v\""),
        ("curl -d \"{\\\"token\\\": \\\"hunter2\\\"}\" u", "curl -d \"{\\\"token\\\": ***\" u"),
        ("./g -H'X-Api-Key: hunter2' $(./h --token hunter2)", "./g -H'X-Api-Key: ***' $(./h --token ***)"),
        ("run --token=$(printf hunter2) x", "run --token=*** x"),
        // What it is, only the shell knows.
        (
            "run --token=$TOKEN --password \"${PW}\" -H \"Authorization: Bearer x1\"",
            "run --token=$TOKEN --password \"${PW}\" -H \"Authorization: Bearer ***\"",
        ),
    ] {
        assert_eq!(script(given), want);
    }
    assert_eq!(one_line(&shown(&["sh", "-c", "X_TOKEN=hunter2\nls"])), "X_TOKEN=*** ls");
}

#[test]
fn what_is_no_secret_stays() {
    for given in [
        "gcc -DKEY_LENGTH=5 -DTOKENIZER=fast -DHAVE_TOKEN=1 -DPASSWORD_PROMPT=x -DKEY=3 tokenizer.c",
        "x --token-file=x --password-stdin --token-url=y --keyword=z --key-size 5 --author=me --secretary=x",
        "x --private-key=keys/a.pem --credentials=/etc/x.json",
        "sort -u a:b",
        "rsync -u host:dir there",
        "docker run -u 1000:1000 -p 8080:80 x",
        "docker run -u root:root x",
        "install -o root -m 644 a b",
        "git clone ssh://git@host/x git@host:x/y",
        "curl http://host:80/x@y https://h/?a=1&b=2",
        "mkdir -p a",
        "cp -p a b",
        "patch -p1",
        "clang -Rpass=inline -fpass-plugin=x -DPASS=2 --pass 2 -std=c++17",
        "cc -DDIR=/usr/share -I. -c a.c -o a.o -MD -MF a.d",
        "python3 gen.py --bearing 5 --cookies.txt",
        "ninja -C out cookie.o token.o password.o secrets.o",
        "./configure --with-libsecret=/usr --enable-token LIBSECRET_CFLAGS=-I/x",
        "x cio ghp_short eyJ AKIA npm_config_registry",
        "sk_test_words_that_are_only_words a-npm_package_that_has_a_rather_long_name_in_it",
    ] {
        assert_eq!(line(given), given);
    }
    for given in [
        "for t in token secret; do echo $t; done",
        "test -f password.h && cc -c x.c",
        "echo 'it is' \"a token: is\" > x",
    ] {
        assert!(!script(given).starts_with(BLANK), "{given}");
    }
    assert_eq!(script("for t in token secret; do echo $t; done"), "for t in token secret; do echo $t; done");
    assert!(is_whole(&shown(&["make", "all"])) && !is_whole(&redact(&[b"c\xff".to_vec()], &[])));
}

#[test]
fn what_a_variable_holds_is_blanked_wherever_it_is_a_word() {
    let env =
        ["DEPLOY_TOKEN=hunter2", "PATH=/bin", "SIGNING_KEY=/etc/k.pem", "A_TOKEN=true"].map(|v| v.as_bytes().to_vec());
    let of = |argv: &[&str]| redact(&argv.iter().map(|a| a.as_bytes().to_vec()).collect::<Vec<_>>(), &env);
    assert_eq!(
        of(&["deploy", "hunter2", "a/hunter2.x", "hunter22", "/bin", "/etc/k.pem"])[1..],
        ["***", "a/***.x", "hunter22", "/bin", "/etc/k.pem"]
    );
}

#[test]
fn the_table_is_in_its_own_form() {
    let plain = |n: &str| n.bytes().all(|b| b.is_ascii_lowercase());
    for (name, why) in table::NAMES.iter().chain(table::WHOLE_NAMES).chain(table::QUERIES) {
        assert!(plain(name) && !why.is_empty(), "{name}");
    }
    for (start, least, _, why) in table::SHAPES {
        assert!(!start.is_empty() && *least >= 10 && !why.is_empty(), "{start}");
    }
}

#[test]
fn any_text_comes_to_an_end() {
    const PIECES: [&str; 11] = ["a", "token", "=", " ", "'", "\"", "$(", ")", "`", "\\", ": "];
    let mut texts = vec![String::new()];
    for n in 0..4 {
        let longer = texts
            .iter()
            .filter(|t| n == 0 || !t.is_empty())
            .flat_map(|t| PIECES.map(|p| t.clone() + p))
            .collect::<Vec<_>>();
        longer.iter().for_each(|t| drop((shown(&["sh", "-c", t]), shown(&[t, t]))));
        texts = longer;
    }
}

#[test]
fn any_bytes_will_do() {
    for text in [
        "é=ü: \"'`$(",
        "\\",
        "--token",
        "--token=",
        "'",
        "a\u{fffd}b=://@",
        "Authorization:",
        "?token=é&",
        "\"token\":",
    ] {
        for argv in [vec![text], vec!["sh", "-c", text], vec!["curl", "-u", text], vec![text, text, text]] {
            shown(&argv);
        }
    }
}
