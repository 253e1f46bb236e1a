//! A registry that lies about who is called what: nobody signs anything by its word.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use sixfold_api::problem::{Kind, Problem};
use sixfold_api::tls::{self, Identity, RawKey};
use sixfold_core::trust::{Delegation, NodeStatement, Owned as _, Role, Signed};
use sixfold_registry::http::{Directory, Listener};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::farm::{first_farm, join};
use super::ground::{Ground, key_of};
use super::nodes::with_key_of;

/// Whoever asks.
struct Anybody;

impl Directory for Anybody {
    fn knows(&self, _: &RawKey) -> bool {
        true
    }
}

/// It answers by path, and notes what was asked otherwise.
struct Liar {
    url: String,
    others: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
    _stop: watch::Sender<bool>,
}

impl Liar {
    fn with(documents: BTreeMap<String, Value>) -> Self {
        let (others, noted) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(documents));
        let told = Arc::clone(&others);
        let router = Router::new().fallback(move |request: Request<Body>| {
            let (path, documents) = (request.uri().path().to_owned(), Arc::clone(&noted));
            let known = documents.get(&path).filter(|_| request.method() == "GET").map(Value::to_string);
            let is_of_keys = path.starts_with("/v1/keys/");
            if known.is_none() && !is_of_keys {
                told.lock().unwrap().push(format!("{} {path}", request.method()));
            }
            async move { answered(known) }
        });
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let key = key_of("liar");
        let tls = tls::server(&Identity::of(&key).unwrap()).unwrap();
        let (stop, stopped) = watch::channel(false);
        let address = runtime.block_on(async {
            let listen = ["[::1]:0".parse().unwrap()];
            let listener = Listener::bind(&listen, tls, router, Arc::new(Anybody)).unwrap();
            let address = listener.addresses().unwrap()[0];
            tokio::spawn(listener.serve(stopped));
            address
        });
        let key = sixfold_api::url::RegistryUrl::new(key.verifying(), address.to_string());
        Self { url: key.unwrap().to_string(), others, _runtime: runtime, _stop: stop }
    }
}

fn answered(known: Option<String>) -> Response<Body> {
    let problem = Problem::new(Kind::NotFound, "there is no such thing here");
    let (status, body) = match known {
        Some(body) => (StatusCode::OK, body),
        None => (StatusCode::NOT_FOUND, serde_json::to_string(&problem).unwrap()),
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap()
}

/// What an honest registry shows at a path.
fn read(ground: &Ground, path: &str) -> Value {
    with_key_of(ground, "acme", async |client| client.get(path).await.unwrap())
}

/// The same words by another key.
fn forged<T: sixfold_core::trust::Statement>(said: &Value, change: impl Fn(T) -> T) -> Value {
    let signed: Signed = serde_json::from_value(said.clone()).unwrap();
    let statement = change(signed.open().unwrap());
    serde_json::to_value(Signed::new(&statement, &key_of("liar"))).unwrap()
}

#[test]
fn a_name_is_believed_of_who_signed_it_and_of_nobody_else() {
    let mut ground = Ground::new();
    first_farm(&ground);
    ground.key(Role::Tenant, "acme");
    let [alpha, beta] = ["alpha", "beta"].map(|name| ground.key(Role::Farmer, name));
    let file = ground.file("beta.toml", "farm = \"beta\"\nallocations = [\"2001:db8:b::/48\"]\n");
    ground.prints("beta", &["farm", "create", &file], 0);
    join(&ground, "beta", &[("dog", &["--hidden", "--family", "ipv4"])]);
    let [of_alpha, of_beta] =
        [&alpha, &beta].map(|id| (format!("/v1/farms/{id}"), read(&ground, &format!("/v1/farms/{id}"))));
    let named = |id: &str, name: &str| json!({ "id": id, "name": name });
    let farms = ("/v1/farms".to_owned(), json!({ "farms": [named(&alpha, "alpha"), named(&beta, "beta")] }));
    let with = |(path, whole): &(String, Value), change: &dyn Fn(&mut Value)| {
        let mut whole = whole.clone();
        change(&mut whole);
        (path.clone(), whole)
    };
    let text =
        "tenant = \"acme\"\nnetwork = \"web\"\nnodes = [\"ant\"]\nexit = { farm = \"alpha\", slot = 1 }\n";
    let network = ground.file("web.toml", text);
    // Its statements as they are: that is believed, and what is asked next is what it would do.
    let honest = BTreeMap::from([farms.clone(), of_alpha.clone(), of_beta.clone()]);
    let rename = |statement: NodeStatement| NodeStatement { name: "ant".parse().unwrap(), ..statement };
    let rename_farm = |farm: Delegation| {
        Delegation::new(farm.with_nodes(Vec::new()), "beta".parse().unwrap(), farm.version()).unwrap()
    };
    let lies: [(&str, (String, Value)); 4] = [
        (
            "a node called otherwise",
            with(&of_alpha, &|farm| farm["nodes"][1] = forged(&farm["nodes"][1], rename)),
        ),
        (
            "a node's words changed",
            with(&of_alpha, &|farm| farm["nodes"][1]["body"] = farm["nodes"][0]["body"].clone()),
        ),
        ("another farm's node", with(&of_alpha, &|farm| farm["nodes"][1] = of_beta.1["nodes"][0].clone())),
        (
            "a farm called otherwise",
            with(&of_alpha, &|farm| farm["statement"] = forged(&farm["statement"], rename_farm)),
        ),
    ];
    let liar = Liar::with(honest.clone());
    ground.url = liar.url.clone();
    let shown = ground.prints("acme", &["farm", "show", "alpha"], 0);
    assert!(shown.contains(&ground.key(Role::Node, "ant")), "{shown}");
    // The list's names are nobody's words: a swapped one names nothing else.
    let swapped = json!({ "farms": [named(&beta, "alpha")] });
    let liar = Liar::with(BTreeMap::from([("/v1/farms".to_owned(), swapped), of_beta.clone()]));
    ground.url = liar.url.clone();
    let said = ground.prints("acme", &["farm", "show", "alpha"], 1);
    assert!(said.contains("there is no farm alpha"), "{said}");
    for (lie, (path, farm)) in lies {
        let mut documents = honest.clone();
        documents.insert(path, farm);
        let liar = Liar::with(documents);
        ground.url = liar.url.clone();
        for args in [&["farm", "show", "alpha"][..], &["network", "apply", &network, "--yes"]] {
            let said = ground.prints("acme", args, 1);
            assert!(
                said.contains("who did not sign that")
                    || said.contains("did not sign it")
                    || said.contains("cannot be used"),
                "{lie}: {said}"
            );
        }
        assert_eq!(*liar.others.lock().unwrap(), Vec::<String>::new(), "{lie}: nothing was said to it");
    }
}
