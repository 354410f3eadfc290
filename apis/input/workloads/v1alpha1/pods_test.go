package v1alpha1

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// What the API server refuses of a pod or a policy is refused with the field's name:
// an Object would be taken, and the order never come up.
func TestPlatformValidate(t *testing.T) {
	const cert = "-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----\\n"
	for name, tc := range map[string]struct {
		input string // YAML, laid over the defaults
		want  string // part of the error; empty: the input is fine
	}{
		"Everything": {`
podTemplate:
  labels: {team: data, example.org/cost-center: "42"}
  annotations: {sidecar.istio.io/inject: "false"}
  imagePullSecrets: [{name: regcred}, {name: mirror.example.org}]
  imagePullPolicy: Always
  nodeSelector: {kubernetes.io/arch: arm64}
  tolerations:
  - {key: dedicated, operator: Equal, value: agents, effect: NoSchedule}
  - {operator: Exists}
  - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 60}
  affinity:
    nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]}}
    podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {a: b}}}}]}
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {a: b}}}]
  priorityClassName: low
  runtimeClassName: gvisor
  resources: {requests: {cpu: 250m}, limits: {cpu: "2", ephemeral-storage: 1Gi}}
  qosClass: Guaranteed
  runAs: Platform
  env: [{name: LOG_LEVEL, value: debug}, {name: TOKEN, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  proxy: {http: "http://proxy.example.org:3128", noProxy: [.example.org, 10.1.0.0/16]}
  caBundle: {configMap: {name: trust, key: ca.crt}}
sandbox: {resources: {limits: {nvidia.com/gpu: "1"}}}
`, ""},
		"PullSecretName":    {`podTemplate: {imagePullSecrets: [{name: Reg Cred}]}`, "podTemplate.imagePullSecrets[0].name: Invalid value"},
		"PullSecretEmpty":   {`podTemplate: {imagePullSecrets: [{}]}`, "podTemplate.imagePullSecrets[0].name: Invalid value"},
		"PullPolicy":        {`podTemplate: {imagePullPolicy: Sometimes}`, "podTemplate.imagePullPolicy: Unsupported value"},
		"LabelValue":        {`podTemplate: {labels: {team: "data & ai"}}`, "podTemplate.labels: Invalid value"},
		"LabelKey":          {`planner: {labels: {"a b": c}}`, "planner.labels: Invalid value"},
		"LabelOfOurs":       {`podTemplate: {labels: {app.kubernetes.io/name: x}}`, "podTemplate.labels[app.kubernetes.io/name]: Forbidden"},
		"AnnotationKey":     {`chatFrontend: {annotations: {"a b": c}}`, "chatFrontend.annotations: Invalid value"},
		"NodeSelector":      {`podTemplate: {nodeSelector: {"pool name": a}}`, "podTemplate.nodeSelector: Invalid value"},
		"NodeSelectorValue": {`podTemplate: {nodeSelector: {pool: "a b"}}`, "podTemplate.nodeSelector: Invalid value"},
		"TolerationEffect":  {`podTemplate: {tolerations: [{key: a, operator: Exists, effect: Never}]}`, "podTemplate.tolerations[0].effect: Unsupported value"},
		"TolerationAll":     {`podTemplate: {tolerations: [{value: a}]}`, "podTemplate.tolerations[0].operator: Invalid value"},
		"TolerationValue":   {`podTemplate: {tolerations: [{key: a, operator: Exists, value: b}]}`, "podTemplate.tolerations[0].value"},
		"TolerationForever": {`podTemplate: {tolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 9223372036854775807}]}`, "podTemplate.tolerations[0].tolerationSeconds: Invalid value"},
		"TolerationSeconds": {`podTemplate: {tolerations: [{key: a, operator: Exists, effect: NoSchedule, tolerationSeconds: 5}]}`, "podTemplate.tolerations[0].effect"},
		"AffinityOperator":  {`podTemplate: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Is, values: [b]}]}]}}}}`, "operator: Invalid value"},
		"AffinityValues":    {`podTemplate: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In}]}]}}}}`, "values: Required value"},
		"AffinityNoTerms":   {`podTemplate: {affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}}`, "nodeSelectorTerms: Required value"},
		"AffinityWeight":    {`podTemplate: {affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, preference: {matchExpressions: [{key: a, operator: Exists}]}}]}}}`, "weight: Invalid value"},
		"AffinityTopology":  {`podTemplate: {affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {}}]}}}`, "topologyKey: Required value"},
		"SpreadSkew":        {`podTemplate: {topologySpreadConstraints: [{maxSkew: 0, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}`, "maxSkew: Invalid value"},
		"SpreadWhen":        {`podTemplate: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: Maybe}]}`, "whenUnsatisfiable: Unsupported value"},
		"SpreadOfAgents":    {`planner: {topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]}`, "planner.topologySpreadConstraints can't be set: kagent makes"},
		"PriorityOfAgents":  {`worker: {priorityClassName: low}`, "worker.priorityClassName can't be set: kagent makes"},
		"PriorityName":      {`podTemplate: {priorityClassName: Very Low}`, "podTemplate.priorityClassName: Invalid value"},
		"RequestOverLimit":  {`podTemplate: {resources: {requests: {cpu: "4"}, limits: {cpu: "2"}}}`, "podTemplate.resources.requests[cpu]: Invalid value"},
		"RequestOverOthers": {`{podTemplate: {resources: {limits: {cpu: "1"}}}, worker: {resources: {requests: {cpu: "2"}}}}`, "worker.resources.requests[cpu]: Invalid value"},
		"NegativeLimit":     {`podTemplate: {resources: {limits: {cpu: "-1"}}}`, "podTemplate.resources.limits[cpu]: Invalid value"},
		"UnknownResource":   {`podTemplate: {resources: {limits: {gpu: "1"}}}`, "podTemplate.resources.limits[gpu]: Invalid value"},
		"HalfADevice":       {`sandbox: {resources: {limits: {nvidia.com/gpu: 500m}}}`, "must be an integer"},
		"DeviceRequestOnly": {`sandbox: {resources: {requests: {nvidia.com/gpu: "1"}}}`, "must be equal to its limit"},
		"SandboxMemory":     {`sandbox: {resources: {limits: {memory: 2Gi}}}`, "sandbox.resources.limits.memory can't be set"},
		"QoS":               {`podTemplate: {qosClass: BestEffort}`, "podTemplate.qosClass: Unsupported value"},
		"RunAs":             {`podTemplate: {runAs: Root}`, "podTemplate.runAs: Unsupported value"},
		"EnvName":           {`podTemplate: {env: [{name: "A=B", value: c}]}`, "podTemplate.env[0].name: Invalid value"},
		"EnvTwice":          {`podTemplate: {env: [{name: A, value: b}, {name: A, value: c}]}`, "podTemplate.env[1].name: Duplicate value"},
		"EnvOfOurs":         {`sandbox: {env: [{name: DATASET_GCS_PATH, value: gs://x/y.csv}]}`, "sandbox.env[0].name: Forbidden"},
		"EnvOfKagent":       {`planner: {env: [{name: KAGENT_URL, value: x}]}`, "planner.env[0].name: Forbidden"},
		"EnvKey":            {`planner: {env: [{name: GOOGLE_API_KEY, value: x}]}`, "planner.env[0].name: Forbidden"},
		"EnvTwoSources":     {`podTemplate: {env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}, configMapKeyRef: {name: s, key: k}}}]}`, "must specify one of"},
		"EnvNoSource":       {`podTemplate: {env: [{name: A, valueFrom: {}}]}`, "must specify one of"},
		"EnvValueAndSource": {`podTemplate: {env: [{name: A, value: b, valueFrom: {secretKeyRef: {name: s, key: k}}}]}`, "may not be specified when"},
		"EnvSandboxKey":     {`planner: {env: [{name: A, valueFrom: {secretKeyRef: {name: gcp-credentials, key: private_key}}}]}`, "it is the sandbox's key"},
		"EnvFieldPath":      {`podTemplate: {env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.image}}}]}`, "fieldPath: Unsupported value"},
		"EnvOverProxy":      {`podTemplate: {proxy: {http: "http://p:1"}, env: [{name: HTTPS_PROXY, value: x}]}`, "HTTPS_PROXY is set by proxy"},
		"ProxyPassword":     {`podTemplate: {proxy: {http: "http://user:s3cret@p:1"}}`, "holds a user or a password"},
		"ProxyNothing":      {`podTemplate: {proxy: {noProxy: [a]}}`, "podTemplate.proxy: Required value"},
		"ProxyList":         {`podTemplate: {proxy: {http: "http://p:1", noProxy: ["a,b"]}}`, "podTemplate.proxy.noProxy[0]: Invalid value"},
		"ProxyURL":          {`podTemplate: {proxy: {http: "http://p:1", noProxy: ["https://git.example.org"]}}`, "without a scheme"},
		"ProxyAll":          {`podTemplate: {proxy: {http: "http://p:1", noProxy: ["*"]}}`, "would switch the proxy off"},
		"ProxyStar":         {`podTemplate: {proxy: {http: "http://p:1", noProxy: ["*.example.org"]}}`, "write .example.org"},
		"ProxyNoCIDR":       {`podTemplate: {proxy: {http: "http://p:1", noProxy: [10.0.0.0/33]}}`, "this is no CIDR"},
		"ProxyPath":         {`podTemplate: {proxy: {http: "http://p:1", noProxy: [git.example.org/a]}}`, "this is no CIDR"},
		"ProxyHosts":        {`podTemplate: {proxy: {http: "http://p:1", noProxy: [git, "git.example.org:8443", .example.org, 10.1.2.3, "[::1]", "fd00::/8", 10.0.0.0/8]}}`, ""},
		"ProxySemicolon":    {`podTemplate: {proxy: {http: "http://p:1", noProxy: ["a;b"]}}`, "must be one host"},
		"ProxyPort":         {`podTemplate: {proxy: {http: "http://10.0.0.1:66000"}}`, "podTemplate.proxy.http: Invalid value"},
		"ProxyNamespace":    {`podTemplate: {proxy: {https: "http://proxy.ns-.svc:3128"}}`, `no namespace can be called "ns-"`},
		"ProxyMetadata":     {`chatFrontend: {proxy: {http: "http://169.254.169.254"}}`, "metadata server"},
		"BundleDamaged":     {`podTemplate: {caBundle: {pem: "` + cert + `-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n"}}`, "1 of its 2 certificates are damaged"},
		"BundleCutOff":      {`podTemplate: {caBundle: {pem: "` + cert + `-----BEGIN CERTIFICATE-----\nMIIB"}}`, "1 of its 2 certificates are damaged"},
		"BundleLineLost":    {`podTemplate: {caBundle: {pem: "` + cert + `-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"}}`, "1 of its 2 certificates are damaged"},
		"BundleOneDamaged":  {`podTemplate: {caBundle: {pem: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"}}`, "1 of its 1 certificates are damaged"},
		"BundleCRLF":        {`podTemplate: {caBundle: {pem: "-----BEGIN CERTIFICATE-----\r\nMAA=\r\n-----END CERTIFICATE-----\r\n"}}`, ""},
		"LabelOfOrder":      {`podTemplate: {labels: {whisperops.io/order-uid: x}}`, "podTemplate.labels[whisperops.io/order-uid]: Forbidden"},
		"BundleWords":       {`podTemplate: {caBundle: {pem: "# of Acme\n` + cert + `and another:\n` + cert + `"}}`, ""},
		"Bundle":            {`podTemplate: {caBundle: {pem: "` + cert + `"}}`, ""},
		"BundleBoth":        {`podTemplate: {caBundle: {pem: "` + cert + `", configMap: {name: a, key: b}}}`, "podTemplate.caBundle: Required value"},
		"BundleKey":         {`podTemplate: {caBundle: {pem: "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n"}}`, "podTemplate.caBundle.pem: Forbidden"},
		"BundleNothing":     {`podTemplate: {caBundle: {pem: "hello"}}`, "must hold certificates in PEM"},
		"BundlesDiffer":     {`{podTemplate: {caBundle: {pem: "` + cert + `"}}, sandbox: {caBundle: {pem: "` + cert + cert + `"}}}`, "sandbox.caBundle.pem is another one"},
		"BundleOfOne":       {`worker: {caBundle: {pem: "` + cert + `"}}`, ""},
		"BundleBeside":      {`{podTemplate: {caBundle: {pem: "` + cert + `"}}, sandbox: {caBundle: {configMap: {name: a, key: b}}}}`, ""},
		"NamespaceLabel":    {`namespace: {labels: {pod-security.kubernetes.io/enforce: privileged}}`, "can't be set here"},
		"NamespaceLabelBad": {`namespace: {labels: {a: "b c"}}`, "namespace.labels: Invalid value"},
		"PodSecurityWarn":   {`namespace: {labels: {pod-security.kubernetes.io/warn: strict}}`, "namespace.labels[pod-security.kubernetes.io/warn] is \"strict\": it must be restricted, baseline or privileged"},
		"PodSecurityAudit":  {`namespace: {labels: {pod-security.kubernetes.io/audit: ""}}`, "namespace.labels[pod-security.kubernetes.io/audit]"},
		"PodSecurityAt":     {`namespace: {labels: {pod-security.kubernetes.io/enforce-version: v99}}`, "must be latest or a version such as v1.35"},
		"PodSecurityFine":   {`namespace: {labels: {pod-security.kubernetes.io/enforce-version: v1.30, pod-security.kubernetes.io/warn: baseline, pod-security.kubernetes.io/warn-version: latest, pod-security.kubernetes.io/x: y}}`, ""},
		"Image":             {`images: {sandbox: "registry.example.org:5000/a/b_c/d--e:v1.2@sha256:` + strings.Repeat("0a", 32) + `"}`, ""},
		"ImageOfMachine":    {`images: {sandbox: "Registry:5000/sandbox", chatFrontend: "[fd00::1]:5000/chat"}`, ""},
		"ImageBlank":        {`images: {sandbox: "sandbox v1"}`, `images.sandbox "sandbox v1" names no image`},
		"ImageScheme":       {`images: {sandbox: "https://registry.example.org/sandbox:v1"}`, "names no image"},
		"ImageCapitals":     {`images: {chatFrontend: "registry.example.org/Chat:v1"}`, "images.chatFrontend"},
		"ImageDigest":       {`images: {sandbox: "sandbox@sha256:abc"}`, "names no image"},
		"ImageTag":          {`images: {sandbox: "sandbox:v1+build"}`, "names no image"},
		"ImageNoTag":        {`images: {sandbox: "sandbox:"}`, "names no image"},
		"ProviderConfig":    {`objectProviderConfig: In Cluster`, `objectProviderConfig "In Cluster" can't be an object's name`},
		"KagentVersion":     {`kagentVersion: v1.0`, `kagentVersion "v1.0" must be`},

		"IngressAnnotation":      {`ingress: {annotations: {"nginx.ingress.kubernetes.io/whitelist source": 10.0.0.0/8}}`, "ingress.annotations: Invalid value: \"nginx.ingress.kubernetes.io/whitelist source\""},
		"IngressAnnotationTwo":   {`ingress: {annotations: {"a/b/c": d}}`, "ingress.annotations: Invalid value"},
		"IngressServiceAnnot":    {`ingress: {serviceAnnotations: {"-a": d}}`, "ingress.serviceAnnotations: Invalid value"},
		"IngressTwoClasses":      {`ingress: {className: nginx, annotations: {kubernetes.io/ingress.class: gce}}`, `ingress.annotations[kubernetes.io/ingress.class] is "gce" and ingress.className is "nginx"`},
		"IngressDefaultAndClass": {`ingress: {annotations: {kubernetes.io/ingress.class: alb}}`, `is "alb" and ingress.className is "nginx"`},
		"IngressSameClass":       {`ingress: {className: gce, annotations: {kubernetes.io/ingress.class: gce}}`, ""},
		"IngressOnlyAnnotation":  {`ingress: {className: "", annotations: {kubernetes.io/ingress.class: gce}}`, ""},
		"IngressTwoIssuers":      {`ingress: {tlsIssuer: letsencrypt, annotations: {cert-manager.io/issuer: own}}`, "ingress.annotations[cert-manager.io/issuer] is \"own\" beside ingress.tlsIssuer"},
		"IngressOwnIssuer":       {`ingress: {annotations: {cert-manager.io/issuer: own}}`, ""},
		"IngressNoClass":         {`ingress: {className: ""}`, "ingress.className is empty"},
		"IngressClassName":       {`ingress: {className: GCE}`, "ingress.className: Invalid value"},

		"DNSPort":        {`network: {dnsPorts: [5353, 53]}`, ""},
		"DNSPortBad":     {`network: {dnsPorts: [0]}`, "network.dnsPorts holds 0"},
		"IngressCIDRs":   {`network: {ingressCIDRs: [35.191.0.0/16, "2600:2d00:1:b029::/64"]}`, ""},
		"IngressCIDR":    {`network: {ingressCIDRs: [35.191.0.0]}`, `network.ingressCIDRs holds "35.191.0.0"`},
		"DualStack":      {`network: {ipFamilies: [IPv4, IPv6], privateCIDRs: [10.0.0.0/8, fd00::/8]}`, ""},
		"Families":       {`network: {ipFamilies: []}`, "network.ipFamilies is empty"},
		"FamiliesTwice":  {`network: {ipFamilies: [IPv6, IPv6]}`, `network.ipFamilies holds "IPv6"`},
		"FamiliesBad":    {`network: {ipFamilies: [ipv4]}`, `network.ipFamilies holds "ipv4"`},
		"AllOfIPv6":      {`network: {privateCIDRs: ["::/0"]}`, `network.privateCIDRs holds "::/0"`},
		"Egress":         {`network: {extraEgress: [{to: [{ipBlock: {cidr: 10.1.2.3/32}}], ports: [{port: 3128}]}, {to: [{namespaceSelector: {matchLabels: {a: b}}, podSelector: {}}]}]}`, ""},
		"EgressToAll":    {`network: {extraEgress: [{ports: [{port: 443}]}]}`, "network.extraEgress[0].to: Required value"},
		"EgressNoPeer":   {`network: {extraEgress: [{to: [{}]}]}`, "network.extraEgress[0].to[0]: Required value"},
		"EgressTwoKinds": {`network: {extraEgress: [{to: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]}`, "network.extraEgress[0].to[0]: Forbidden"},
		"EgressCIDR":     {`network: {extraEgress: [{to: [{ipBlock: {cidr: 10.0.0.1/8}}]}]}`, "network.extraEgress[0].to[0].ipBlock.cidr: Invalid value"},
		"EgressExcept":   {`network: {extraEgress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/8]}}]}]}`, "except[0]: Invalid value"},
		"EgressMetadata": {`network: {extraEgress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}`, "metadata server 169.254.169.254"},
		"EgressMeta6":    {`network: {extraEgress: [{to: [{ipBlock: {cidr: "fd00::/8"}}]}]}`, "metadata server fd00:ec2::254"},
		"EgressExcepted": {`network: {extraEgress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}}]}]}`, ""},
		"EgressPort":     {`network: {extraEgress: [{to: [{podSelector: {}}], ports: [{port: 70000}]}]}`, "ports[0].port: Invalid value"},
		"EgressPortName": {`network: {extraEgress: [{to: [{podSelector: {}}], ports: [{port: "HTTP!"}]}]}`, "ports[0].port: Invalid value"},
		"EgressEndPort":  {`network: {extraEgress: [{to: [{podSelector: {}}], ports: [{port: 10, endPort: 9}]}]}`, "ports[0].endPort: Invalid value"},
		"EgressProtocol": {`network: {extraEgress: [{to: [{podSelector: {}}], ports: [{port: 10, protocol: ICMP}]}]}`, "ports[0].protocol: Unsupported value"},
		"EgressSelector": {`network: {extraEgress: [{to: [{podSelector: {matchExpressions: [{key: a, operator: In}]}}]}]}`, "values: Required value"},
		"IngressFromAny": {`network: {extraIngress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 3000}]}]}`, ""},
		"DNSEverywhere":  {`network: {nodeLocalDNS: 0.0.0.0/0}`, "network.nodeLocalDNS"},
		"IngressFromAll": {`network: {extraIngress: [{ports: [{port: 8080}]}]}`, "network.extraIngress[0].from: Required value"},
	} {
		t.Run(name, func(t *testing.T) {
			in := &RenderWorkloadsInput{Images: Images{Sandbox: "sandbox:v1", ChatFrontend: "chat:v1"}}
			in.Default()
			if err := yaml.UnmarshalStrict([]byte(tc.input), in); err != nil {
				t.Fatal(err)
			}
			if err := in.Validate(); !says(err, tc.want) {
				t.Errorf("Validate() = %v, want %q", err, tc.want)
			}
		})
	}
}

// What stands in a block of one pod is laid over what stands in all pods' block.
func TestPodTemplateOf(t *testing.T) {
	in := &RenderWorkloadsInput{}
	if err := yaml.UnmarshalStrict([]byte(`
podTemplate:
  labels: {a: all, b: all}
  nodeSelector: {pool: all}
  imagePullSecrets: [{name: one}]
  tolerations: [{key: all, operator: Exists}]
  env: [{name: A, value: all}, {name: B, value: all}]
  resources: {requests: {cpu: "1"}, limits: {cpu: "1", memory: 1Gi}}
  qosClass: Guaranteed
  priorityClassName: low
worker:
  labels: {b: own}
  imagePullSecrets: [{name: one}, {name: two}]
  tolerations: [{key: own, operator: Exists}]
  env: [{name: B, value: own}]
  resources: {limits: {cpu: "2"}}
  qosClass: Burstable
`), in); err != nil {
		t.Fatal(err)
	}
	got, err := yaml.Marshal(in.PodTemplateOf(in.Worker))
	if err != nil {
		t.Fatal(err)
	}
	const want = `env:
- name: A
  value: all
- name: B
  value: own
imagePullSecrets:
- name: one
- name: two
labels:
  a: all
  b: own
nodeSelector:
  pool: all
priorityClassName: low
qosClass: Burstable
resources:
  limits:
    cpu: "2"
    memory: 1Gi
  requests:
    cpu: "1"
runAs: Nonroot
tolerations:
- key: all
  operator: Exists
- key: own
  operator: Exists
`
	if string(got) != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if in.PodTemplate.Labels["b"] != "all" || len(in.PodTemplate.Tolerations) != 1 || in.PodTemplate.Resources.Limits.Cpu().String() != "1" {
		t.Errorf("what all pods have was changed: %+v", in.PodTemplate)
	}
	in.Network.DNSNamespace = openShiftDNS
	if got := in.PodTemplateOf(in.Planner).RunAs; got != RunAsPlatform {
		t.Errorf("on OpenShift pods run as %s", got)
	}
	if got := in.PodTemplateOf(PodTemplate{RunAs: RunAsNonroot}).RunAs; got != RunAsNonroot {
		t.Errorf("what is said stands: %s", got)
	}
}
