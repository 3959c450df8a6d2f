//! The publisher of the README, and a subscriber, in Python.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use framegate::gate::Config;
use support::start;

#[test]
fn the_readmes_publisher_reaches_a_python_subscriber() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("there is no python3 here: nothing was tried");
        return;
    }
    let gateway = start(Config::default());
    let port = gateway.address.port().to_string();
    let mut subscriber = Command::new("python3")
        .args(["tests/subscriber.py", &port, "orders.>", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut lines = BufReader::new(subscriber.stdout.take().expect("it is piped")).lines();
    assert_eq!(lines.next().expect("a line").unwrap(), "subscribed");

    let readme = include_str!("../README.md");
    let publisher = readme.split("```python\n").nth(1).and_then(|rest| rest.split("```").next());
    let publisher = publisher.expect("the README shows one").replace("7450", &port);
    assert!(Command::new("python3").args(["-c", &publisher]).status().expect("python3 runs").success());

    assert_eq!(lines.next().expect("a line").unwrap(), "orders.eu hello");
    assert!(subscriber.wait().unwrap().success());
    assert_eq!(gateway.stop().delivered, 1);
}
