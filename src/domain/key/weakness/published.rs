//! Keys whose private halves are printed in RFCs, or in the sources of widely used software.

/// SHA-256 over the `SubjectPublicKeyInfo` of each, in hexadecimal, and where it is published.
const PUBLISHED: &[(&str, &str)] = &[
    ("b2b04340cfaee616ec9c2c62d261b208e54bb197498df52e8cadede23ac0ba5e", "RFC 9500, P-256"),
    ("c4c10105a0be0ed4dd3354428dc38a9bfee64da141ce16e75c94eda272f9dd3a", "RFC 9500, P-384"),
    ("acb1b8327fef995e2458fdf5e3c33b2dc0749feabd6a894cb9bda9d70ac06c24", "RFC 9500, P-521"),
    ("8fb6bad671cfe698393c453357da61b56d757ab8c0f3fb9c87f2849e63131878", "RFC 9500, RSA-2048"),
    ("96465ea5dc9bb2da7b351d808a7196e5761f2412a5040131c68d719aaba28fb9", "RFC 9500, RSA-4096"),
    (
        "0bb46449d66671f8db75aa2615c230d26ec105c89db0c7f066163644047b7254",
        "Go, net/http/internal/testcert",
    ),
    ("5a7a78cca4a0f420d9bc62bb669c3c2759e39f723d3ae10dcbe0f0815a07ecd4", "RFC 6979, A.2.5"),
    ("2f95601fa82060b909bfc6b979dbd303d34d34e0afb27ea496beac362f242a4b", "RFC 6979, A.2.6"),
    ("2fb6d46385242ea4ad431f7175e7014eb74a5fc60f65b50ca54cc23c5b08de38", "RFC 6979, A.2.7"),
    ("51b944cdfa544d4c3273aa6bf350625a7dd53bbb6a71723274f538b19a207760", "RFC 7517, A.1"),
    ("2bd1bb0c44a897c30a7aa0991cde38d8062fe441de50da0f46825344f602e827", "RFC 7515, A.3"),
    ("9146ce73d6abeda5e0ab6926e7bd9b563f2f2258b488d520534a0b84ba5871df", "RFC 7515, A.4"),
    ("c6479a15a50ac4cd9b6414e27c69bf37345dc1046dc648875c4898fbd35cc74b", "RFC 7520, 3.1"),
    ("36ada7a1c77e32830848b347126d4da6de59f1c30536c53750dc9ec8931349fb", "RFC 7518, C, Alice"),
    ("19818232a1dd313f53b5d5b95ae3d32570e178ba58d6d5906989fc299b00e32f", "RFC 7518, C, Bob"),
    (
        "ad32320cf6c596d884b05381ba573aba8ddd5749b4de8f4a23a79f9a89ddaeb2",
        "RFC 7517, A.1 and RFC 7638, 3.1",
    ),
    ("6fd13c2435a361e7c588cd17f55f5ad3df0177a66c1727a6a200845f4d7ab88c", "RFC 7515, A.2"),
    ("bf0a7a74f9afb6edda89ebabe824241bfdb281db2da50daae9973c6cbe99fe95", "RFC 7516, A.1"),
    ("627771f25da426d1f9ae315e42106d700b1529850eee1592acf39603959d795d", "RFC 7520, 3.3"),
    ("06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9", "RFC 8032, 7.1, 1"),
    ("deb2ded39dc26fce0e6085b6fc34bf6b5941913bbfe2ea614113cff9e004c170", "RFC 8032, 7.1, 2"),
    ("8d39ba50abe50f77b6bb8ae7b6927aff7ffbeba35ad2837c0e51e82bcbcc60d5", "RFC 8032, 7.1, 3"),
    ("e4f982b51ad0bdd87be820b259fe80337ef636e72b9fa7a8867a6949eb610fd6", "RFC 8032, 7.1, 1024"),
    ("e77db4a9572e9f6552c22bc751d5499ad218a73bdf7e15dc6ea0fc69246a44de", "RFC 8032, 7.1, SHA(abc)"),
    ("a1e9156054e04fac899ae9f275132cdc07a5dbc4ea2c2ad3a1ffc6e0d253681f", "RFC 8410, 10"),
];

/// Whether the private key of a public key is published.
pub(super) fn is_published(spki_sha256: &[u8; 32]) -> bool {
    let hex = data_encoding::HEXLOWER.encode(spki_sha256);
    PUBLISHED.iter().any(|(published, _)| *published == hex)
}
