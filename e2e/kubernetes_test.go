package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	authv1 "k8s.io/api/authentication/v1"
	authv1beta1 "k8s.io/api/authentication/v1beta1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// kubernetes is the wire of an API server: its own types, by its own encoder and
// its strict decoder. No API server is run.
type kubernetes struct {
	codecs serializer.CodecFactory
	home   home
}

func newKubernetes(t *testing.T, h home) kubernetes {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{authv1.AddToScheme, authv1beta1.AddToScheme, rbacv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return kubernetes{serializer.NewCodecFactory(scheme, serializer.EnableStrict), h}
}

// post sends a review as the API server does, with the token of its webhook.
func (k kubernetes) post(t *testing.T, webhook string, version schema.GroupVersion, review runtime.Object) answer {
	t.Helper()
	body, err := runtime.Encode(k.codecs.LegacyCodec(version), review)
	if err != nil {
		t.Fatal(err)
	}
	return call(t, request{
		method: http.MethodPost, url: k.home.url + "/k8s/tokenreview", authorization: bearer(webhook), contentType: "application/json", body: string(body),
	})
}

func (k kubernetes) review(t *testing.T, webhook, token string, audiences ...string) authv1.TokenReviewStatus {
	t.Helper()
	got := k.post(t, webhook, authv1.SchemeGroupVersion, &authv1.TokenReview{Spec: authv1.TokenReviewSpec{Token: token, Audiences: audiences}})
	object, _, err := k.codecs.UniversalDeserializer().Decode([]byte(got.body), nil, nil)
	review, ok := object.(*authv1.TokenReview)
	if got.status != http.StatusOK || err != nil || !ok {
		t.Fatalf("%d %s is %T, %v", got.status, got.body, object, err)
	}
	return review.Status
}

func TestKubernetesAuthenticatesByTheWebhook(t *testing.T) {
	s := newSite(t)
	const cluster = "https://kubernetes.default.svc.cluster.local"
	k := newKubernetes(t, s.home)
	webhook := s.issue(t, `{"client_id":"cluster","role":"verifier","audience":["`+cluster+`"]}`).Token
	user := s.issue(t, `{"client_id":"deployer","role":"user","tags":["team:data","env:prod"],"audience":["`+cluster+`"]}`)
	want := authv1.TokenReviewStatus{
		Authenticated: true, Audiences: []string{cluster},
		User: authv1.UserInfo{
			Username: "deployer", UID: user.ID, Groups: []string{"mintmark:role:user", "mintmark:tag:team:data", "mintmark:tag:env:prod"},
			Extra: map[string]authv1.ExtraValue{"mintmark/token-id": {user.ID}},
		},
	}
	for name, audiences := range map[string][]string{"its own": {cluster}, "two": {"https://elsewhere.example", cluster}, "none": nil} {
		if diff := cmp.Diff(want, k.review(t, webhook, user.Token, audiences...)); diff != "" {
			t.Errorf("asked for %s (-want +got):\n%s", name, diff)
		}
	}
	for name, token := range map[string]string{
		"of another audience": s.user.Token, "cut": user.Token[:len(user.Token)-2], "none": "", "the webhook's": webhook,
		"bound": s.issue(t, `{"client_id":"fenced","role":"user","audience":["`+cluster+`"],"allowed_addresses":["127.0.0.0/8"]}`).Token,
	} {
		if diff := cmp.Diff(authv1.TokenReviewStatus{}, k.review(t, webhook, token, cluster)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := k.review(t, webhook, user.Token, "https://elsewhere.example"); got.Authenticated {
		t.Errorf("for another audience: %+v", got)
	}

	older := k.post(t, webhook, authv1beta1.SchemeGroupVersion, &authv1beta1.TokenReview{Spec: authv1beta1.TokenReviewSpec{Token: user.Token}})
	object, _, err := k.codecs.UniversalDeserializer().Decode([]byte(older.body), nil, nil)
	if review, ok := object.(*authv1beta1.TokenReview); err != nil || !ok || !review.Status.Authenticated || review.Status.User.Username != "deployer" {
		t.Errorf("v1beta1 is answered %d %s, %v", older.status, older.body, err)
	}

	object, _, err = k.codecs.UniversalDeserializer().Decode([]byte(read(t, "../deploy/kubernetes/rbac.yaml")), nil, nil)
	if binding, ok := object.(*rbacv1.RoleBinding); err != nil || !ok || !slices.Contains(want.User.Groups, binding.Subjects[0].Name) {
		t.Errorf("the binding that is shipped is %T, %v, and not for this user", object, err)
	}

	s.revoke(t, user)
	if got := k.review(t, webhook, user.Token, cluster); got.Authenticated {
		t.Errorf("revoked: %+v", got)
	}
	review := &authv1.TokenReview{Spec: authv1.TokenReviewSpec{Token: s.user.Token}}
	for name, c := range map[string]struct {
		webhook string
		status  int
	}{"nobody": {"", http.StatusUnauthorized}, "a User": {s.user.Token, http.StatusForbidden}, "what is no token": {"x", http.StatusUnauthorized}} {
		got := k.post(t, c.webhook, authv1.SchemeGroupVersion, review)
		var status metav1.TypeMeta
		if err := json.Unmarshal([]byte(got.body), &status); got.status != c.status || err != nil || status.Kind != "" {
			t.Errorf("%s asks and is answered %d %s", name, got.status, got.body)
		}
	}
}
