package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// manifests are what is shipped for a fleet in Kubernetes.
type manifests struct {
	nodes      *appsv1.Deployment
	properties *corev1.ConfigMap
	namespace  *corev1.Namespace
	service    *corev1.Service
	budget     *policyv1.PodDisruptionBudget
	network    *networkingv1.NetworkPolicy
}

// readManifests reads what the kustomization names as an API server does, and
// strictly.
func readManifests(t *testing.T) manifests {
	t.Helper()
	folder := filepath.Join("..", "deploy", "kubernetes", "fleet")
	var kustomization struct {
		APIVersion string              `json:"apiVersion"`
		Kind       string              `json:"kind"`
		Namespace  string              `json:"namespace"`
		Resources  []string            `json:"resources"`
		Images     []map[string]string `json:"images"`
	}
	if err := yaml.UnmarshalStrict([]byte(read(t, filepath.Join(folder, "kustomization.yaml"))), &kustomization); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(kustomization.Resources)+1 {
		t.Errorf("the kustomization names %v, there are %v", kustomization.Resources, files)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, policyv1.AddToScheme, networkingv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var m manifests
	for _, file := range kustomization.Resources {
		for _, text := range strings.Split(read(t, filepath.Join(folder, file)), "\n---\n") {
			object, kind, err := decoder.Decode([]byte(text), nil, nil)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			switch o := object.(type) {
			case *appsv1.Deployment:
				m.nodes = o
			case *corev1.ConfigMap:
				m.properties = o
			case *corev1.Namespace:
				m.namespace = o
			case *corev1.Service:
				m.service = o
			case *policyv1.PodDisruptionBudget:
				m.budget = o
			case *networkingv1.NetworkPolicy:
				m.network = o
			default:
				t.Fatalf("%s: a %s", file, kind)
			}
		}
	}
	if m.nodes == nil || m.properties == nil || m.namespace == nil || m.service == nil || m.budget == nil || m.network == nil {
		t.Fatalf("something is missing: %+v", m)
	}
	return m
}

// refusals are what Kubernetes' own admission has against a pod in a namespace
// that enforces the restricted standard.
func refusals(t *testing.T, pod corev1.PodTemplateSpec) []string {
	t.Helper()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	restricted := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	for _, result := range evaluator.EvaluatePod(restricted, &pod.ObjectMeta, &pod.Spec) {
		if !result.Allowed {
			out = append(out, result.ForbiddenReason+": "+result.ForbiddenDetail)
		}
	}
	return out
}

// No cluster is run: the manifests are read with the API server's types and judged
// by its own admission of pods.
func TestAFleetInKubernetesIsRestricted(t *testing.T) {
	m := readManifests(t)
	pod := m.nodes.Spec.Template
	for _, refusal := range refusals(t, pod) {
		t.Error(refusal)
	}
	open := *pod.DeepCopy()
	open.Spec.Containers[0].SecurityContext = nil
	if got := refusals(t, open); len(got) == 0 {
		t.Error("a container that may do anything is admitted: the judge sees nothing")
	}
	for _, label := range []string{podsecurity.EnforceLevelLabel, podsecurity.WarnLevelLabel, podsecurity.AuditLevelLabel} {
		if got := m.namespace.Labels[label]; got != string(podsecurity.LevelRestricted) {
			t.Errorf("the namespace says %s=%s", label, got)
		}
	}
	if pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken {
		t.Error("the pods have a token of the cluster")
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if root := c.SecurityContext.ReadOnlyRootFilesystem; root == nil || !*root {
			t.Errorf("%s may write its root", c.Name)
		}
		if _, tag, tagged := strings.Cut(c.Image, ":"); !tagged || tag == "latest" {
			t.Errorf("%s is of no version: %s", c.Name, c.Image)
		}
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
			t.Errorf("%s has no bounds", c.Name)
		}
	}
	if types := m.network.Spec.PolicyTypes; len(types) != 2 {
		t.Errorf("the network is closed for %v only", types)
	}
}

func TestAFleetInKubernetesHangsTogether(t *testing.T) {
	m := readManifests(t)
	pod := m.nodes.Spec.Template
	for name, selector := range map[string]map[string]string{
		"deployment": m.nodes.Spec.Selector.MatchLabels, "service": m.service.Spec.Selector,
		"budget": m.budget.Spec.Selector.MatchLabels, "network": m.network.Spec.PodSelector.MatchLabels,
	} {
		if len(selector) == 0 || !labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
			t.Errorf("the %s selects %v, the pods are %v", name, selector, pod.Labels)
		}
	}
	node := pod.Spec.Containers[0]
	ports := map[string]bool{}
	for _, p := range node.Ports {
		ports[p.Name] = true
	}
	named := []string{m.service.Spec.Ports[0].TargetPort.StrVal, node.ReadinessProbe.HTTPGet.Port.StrVal, node.LivenessProbe.HTTPGet.Port.StrVal, node.StartupProbe.HTTPGet.Port.StrVal}
	for _, rule := range m.network.Spec.Ingress {
		named = append(named, rule.Ports[0].Port.StrVal)
	}
	for _, name := range named {
		if !ports[name] {
			t.Errorf("there is no port %q", name)
		}
	}
	paths := []string{node.StartupProbe.HTTPGet.Path, node.LivenessProbe.HTTPGet.Path, node.ReadinessProbe.HTTPGet.Path}
	if diff := cmp.Diff([]string{"/readyz", "/healthz", "/readyz"}, paths); diff != "" {
		t.Errorf("probes (-want +got):\n%s", diff)
	}
	if u := m.nodes.Spec.Strategy.RollingUpdate; u.MaxUnavailable.IntValue() != 0 || u.MaxSurge.IntValue() != 1 {
		t.Errorf("rolled out by %+v", u)
	}
	if *m.nodes.Spec.Replicas != 3 || m.budget.Spec.MinAvailable.IntValue() != 2 {
		t.Errorf("%d nodes, of which %s stay", *m.nodes.Spec.Replicas, m.budget.Spec.MinAvailable)
	}
	// A Service of this name would set variables that read like properties.
	if links := pod.Spec.EnableServiceLinks; links == nil || *links {
		t.Error("the cluster sets variables of its own")
	}
	staleness, err := time.ParseDuration(m.properties.Data["MINTMARK_FLEET_MAX_STALENESS"])
	if r := node.ReadinessProbe; err != nil || time.Duration(r.FailureThreshold*r.PeriodSeconds)*time.Second != staleness {
		t.Errorf("a node is taken out after %d x %d s, and answers for %s, %v", r.FailureThreshold, r.PeriodSeconds, staleness, err)
	}
}

// What the pods are told are properties that the program takes.
func TestAFleetInKubernetesIsToldWhatTheProgramTakes(t *testing.T) {
	m := readManifests(t)
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	h := home{dir: filepath.Join(t.TempDir(), "home")}
	if out, err := exec.Command(program, "init", h.dir).CombinedOutput(); err != nil {
		t.Fatalf("init: %v\n%s", err, out)
	}
	names := map[string]string{}
	for _, line := range strings.Split(h.manager(t, "config", "properties", "list", "-o", "tsv", "--no-headers", "--columns", "property"), "\n") {
		names["MINTMARK_"+strings.ToUpper(strings.ReplaceAll(line, ".", "_"))] = line
	}
	told := map[string]string{}
	for variable, value := range m.properties.Data {
		if names[variable] == "" {
			t.Errorf("%s is no property", variable)
			continue
		}
		told[names[variable]] = value
	}
	args := m.nodes.Spec.Template.Spec.InitContainers[1].Args
	for flag, property := range map[string]string{"--listen=": "server.listen", "--store=": "api.access.tokens.store", "--sealing-key=": "fleet.sealing_key"} {
		at := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, flag) })
		if at < 0 {
			t.Fatalf("init is not told %s", flag)
		}
		told[property] = strings.TrimPrefix(args[at], flag)
	}
	if !strings.Contains(told["api.access.tokens.store"], "sslmode=verify-full&sslrootcert=/etc/mintmark/database/") {
		t.Errorf("the database is not verified: %s", told["api.access.tokens.store"])
	}
	for property, value := range told {
		h.manager(t, "config", "properties", "set", property, value)
	}
}

// A mounted secret is a link to a file that a group can read. What a node is given
// in its place passes for a key, also when the pod is started again.
func TestAPodHasASealingKeyOfItsOwn(t *testing.T) {
	prepare := readManifests(t).nodes.Spec.Template.Spec.InitContainers[0]
	dir := t.TempDir()
	for _, m := range prepare.VolumeMounts {
		if err := os.Mkdir(filepath.Join(dir, m.MountPath), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	const key = "mintmark-sealing/1:AAAA\n"
	if err := os.WriteFile(filepath.Join(dir, "secret", "data"), []byte(key), 0o440); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("data", filepath.Join(dir, "secret", "sealing.key")); err != nil {
		t.Fatal(err)
	}
	script := prepare.Command[len(prepare.Command)-1]
	for _, m := range prepare.VolumeMounts {
		script = strings.ReplaceAll(script, " "+m.MountPath+"/", " "+filepath.Join(dir, m.MountPath)+"/")
	}
	prepares := func() {
		if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	prepares()
	write(t, filepath.Join(dir, "home", "node", "config.json"), "of the pod before")
	prepares()
	own := filepath.Join(dir, "sealing", "node", "sealing.key")
	info, err := os.Lstat(own)
	if err != nil || info.Mode() != 0o600 || read(t, own) != key {
		t.Errorf("the key is %v, %v", info, err)
	}
	for _, folder := range []string{"home/node", "sealing/node"} {
		info, err := os.Stat(filepath.Join(dir, folder))
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s is %v, %v", folder, info, err)
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "home", "node")); err != nil || len(left) > 0 {
		t.Errorf("of the pod before it has %v, %v", left, err)
	}
}

// The commands of the page need machines and a cluster. A shell reads all of them.
func TestAShellReadsTheCommandsOfTheFleet(t *testing.T) {
	checked := 0
	for _, b := range blocks(read(t, filepath.Join("..", "docs", "fleet.md"))) {
		if !strings.HasPrefix(b.info, "sh") {
			continue
		}
		checked++
		check := exec.Command("bash", "-n")
		check.Stdin = strings.NewReader(b.text)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("docs/fleet.md:%d: %v\n%s", b.line, err, out)
		}
	}
	if checked < 5 {
		t.Errorf("%d blocks were read", checked)
	}
}
