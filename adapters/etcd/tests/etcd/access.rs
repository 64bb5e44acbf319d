//! Who may read: certificates, users, passwords.

use pilot_registry::{ErrorKind, RegistryError};
use pilot_registry_etcd::{Config, Tls};
use pilot_registry_testkit::server::etcd::{EtcdCluster, EtcdOptions, PASSWORD, USER};

use crate::{follow, instance, put, sees};

fn tls(etcd: &EtcdCluster) -> Config {
    let mut config = Config::new(etcd.endpoints());
    let client = etcd.client_certificate().unwrap();
    config.tls = Some(Tls {
        ca: etcd.authority_certificate().unwrap(),
        cert: Some(client.certificate.clone()),
        key: Some(client.key.clone()),
        server_name: None,
    });
    config
}

/// A certificate that is not accepted is told by the end of the connection. If the system makes a reset of
/// that, nobody can tell it from another.
fn is_refused(error: &RegistryError) -> bool {
    error.kind() == ErrorKind::Denied || error.chain().contains("reset by peer")
}

#[tokio::test]
async fn certificates_of_both_sides_are_checked() {
    let options = EtcdOptions { tls: true, ..EtcdOptions::default() };
    let Some(mut etcd) = EtcdCluster::with(options).await.unwrap() else { return };
    put(&etcd, "1", &instance("10.0.0.1")).await;
    let config = tls(&etcd);
    let mut runner = follow(config.clone());
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
    let with = |change: fn(&mut Tls)| {
        let mut config = config.clone();
        change(config.tls.as_mut().unwrap());
        config
    };
    sees(&mut follow(with(|tls| tls.server_name = Some("etcd.test".into()))), &["10.0.0.1"]).await.unwrap();

    let other_name = with(|tls| tls.server_name = Some("other.test".into()));
    let error = follow(other_name).degraded().await.unwrap().error;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(error.chain().contains("certificate"), "{}", error.chain());
    let without = with(|tls| (tls.cert, tls.key) = (None, None));
    let error = follow(without).degraded().await.unwrap().error;
    assert!(is_refused(&error), "{}", error.chain());
    let no_file = with(|tls| tls.ca = "no-such-file.pem".into());
    let error = follow(no_file).degraded().await.unwrap().error;
    assert!(error.chain().contains("tls.ca: reading no-such-file.pem"), "{}", error.chain());

    let client = etcd.client_certificate().unwrap().clone();
    etcd.authority().unwrap().revoke(Some(&client)).unwrap();
    let mut refused = follow(config);
    let error = refused.degraded().await.unwrap().error;
    assert!(is_refused(&error), "{}", error.chain());
    assert!(refused.feed().published().is_none());
    etcd.authority().unwrap().revoke(None).unwrap();
    sees(&mut refused, &["10.0.0.1"]).await.unwrap();
}

#[tokio::test]
async fn passwords_come_from_the_key_a_file_or_the_environment() {
    let options = EtcdOptions { auth: true, ..EtcdOptions::default() };
    let Some(etcd) = EtcdCluster::with(options).await.unwrap() else { return };
    put(&etcd, "1", &instance("10.0.0.1")).await;
    // A variable that cargo sets for each test.
    let in_environment = format!("other:{}", std::env::var("CARGO_PKG_NAME").unwrap());
    etcd.etcdctl(&["user", "add", &in_environment]).await.unwrap();
    etcd.etcdctl(&["user", "grant-role", "other", USER]).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{PASSWORD}\n")).unwrap();

    let user = |name: &str| Config { user: Some(name.to_owned()), ..Config::new(etcd.endpoints()) };
    let literal = Config { password: Some(PASSWORD.to_owned().into()), ..user(USER) };
    let in_file = Config { password_file: Some(file.path().to_owned()), ..user(USER) };
    let variable = Config { password_env: Some("CARGO_PKG_NAME".into()), ..user("other") };
    for config in [literal, in_file, variable] {
        sees(&mut follow(config), &["10.0.0.1"]).await.unwrap();
    }

    let nobody = Config::new(etcd.endpoints());
    let wrong = Config { password: Some("wrong-password".to_owned().into()), ..user(USER) };
    let no_variable = Config { password_env: Some("NO_SUCH_VARIABLE".into()), ..user(USER) };
    let elsewhere = Config { prefix: "/other".into(), password: wrong.password.clone(), ..user(USER) };
    for config in [nobody, wrong, no_variable, elsewhere] {
        let error = follow(config).degraded().await.unwrap().error;
        assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.chain());
        assert!(!error.chain().contains("wrong-password"), "{}", error.chain());
    }
}

#[tokio::test]
async fn an_etcd_that_was_started_again_is_given_the_password_again() {
    let options = EtcdOptions { auth: true, ..EtcdOptions::default() };
    let Some(mut etcd) = EtcdCluster::with(options).await.unwrap() else { return };
    put(&etcd, "1", &instance("10.0.0.1")).await;
    let mut config = Config::new(etcd.endpoints());
    config.user = Some(USER.to_owned());
    config.password = Some(PASSWORD.to_owned().into());
    let mut runner = follow(config);
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
    // It has forgotten all tokens.
    etcd.restart(0).await.unwrap();
    put(&etcd, "2", &instance("10.0.0.2")).await;
    sees(&mut runner, &["10.0.0.1", "10.0.0.2"]).await.unwrap();
}

#[tokio::test]
async fn a_right_that_is_taken_from_a_watch_that_goes_on_is_noticed() {
    let options = EtcdOptions { auth: true, ..EtcdOptions::default() };
    let Some(etcd) = EtcdCluster::with(options).await.unwrap() else { return };
    put(&etcd, "1", &instance("10.0.0.1")).await;
    let mut config = Config::new(etcd.endpoints());
    config.user = Some(USER.to_owned());
    config.password = Some(PASSWORD.to_owned().into());
    let mut runner = follow(config);
    sees(&mut runner, &["10.0.0.1"]).await.unwrap();
    etcd.revoke().await.unwrap();
    let error = runner.degraded().await.unwrap().error;
    assert_eq!(error.kind(), ErrorKind::Denied, "{}", error.chain());
    assert_eq!(runner.revision(), 1);
    etcd.restore().await.unwrap();
    put(&etcd, "2", &instance("10.0.0.2")).await;
    sees(&mut runner, &["10.0.0.1", "10.0.0.2"]).await.unwrap();
}
