package v1alpha1

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"whisperops.io/functions/apis/v1alpha1"
)

// DefaultModel is generally available on Vertex AI at "global", and in the price
// table that is shipped.
const DefaultModel = "gemini-3.5-flash"

// validate says what of the model can't be used, or nil.
func (m Model) validate() error {
	switch m.Provider {
	case ProviderGeminiVertexAI, ProviderGemini, ProviderOpenAI, ProviderAnthropic:
	default:
		return fmt.Errorf("model.provider %q must be %s, %s, %s or %s%s", m.Provider, ProviderGeminiVertexAI, ProviderGemini, ProviderOpenAI, ProviderAnthropic, otherProviders[strings.ToLower(string(m.Provider))])
	}
	if m.Name == "" {
		return fmt.Errorf("model.name is empty: it names a model of %s", m.Provider)
	}
	if strings.TrimSpace(m.Name) != m.Name {
		return fmt.Errorf("model.name %q begins or ends with a blank", m.Name)
	}
	if err := m.validateFamily(); err != nil {
		return err
	}
	if m.Provider == ProviderGeminiVertexAI && m.Location == "" {
		return fmt.Errorf("model.location is empty: it names a location of Vertex AI, such as global")
	}
	if s := m.CredentialSecret; s != nil {
		if s.Name == "" || s.Key == "" {
			return fmt.Errorf("model.credentialSecret needs the name of a Secret and a key in it; leave it out for Workload Identity")
		}
		if s.Name == v1alpha1.SecretGCPCredentials {
			return fmt.Errorf("model.credentialSecret must not be gcp-credentials: that is the sandbox's key, which opens two buckets and nothing else")
		}
		if len(validation.IsDNS1123Subdomain(s.Name)) > 0 || len(validation.IsConfigMapKey(s.Key)) > 0 {
			return fmt.Errorf("model.credentialSecret: no Secret can be called %q with a key %q", s.Name, s.Key)
		}
	}
	if m.BaseURL != "" {
		if err := validateURL("model.baseUrl", m.BaseURL); err != nil {
			return err
		}
	}
	if m.Meter.Enabled {
		switch {
		case m.CredentialSecret != nil:
			return fmt.Errorf("model.credentialSecret has no place beside model.meter.enabled: the meter alone holds the provider's credential, and agents that had one could go past it")
		case m.BaseURL != "":
			return fmt.Errorf("model.baseUrl has no place beside model.meter.enabled: agents talk to model.meter.url, and the meter's own configuration says where it goes from there")
		}
		return validateURL("model.meter.url", m.Meter.URL)
	}
	if m.Provider != ProviderGeminiVertexAI && m.CredentialSecret == nil && m.BaseURL == "" {
		return fmt.Errorf("model.credentialSecret is absent: %s takes no call without a key; name the Secret that holds it, switch model.meter on, or give the model.baseUrl of a gateway that holds one", m.Provider)
	}
	return nil
}

var (
	googleModel    = regexp.MustCompile(`^((publishers/)?google/)?(models/)?(gemini|gemma|learnlm)-`)
	tunedModel     = regexp.MustCompile(`^((projects/[^/]+/locations/[^/]+/)?(endpoints|models)/)?[0-9]+(@[0-9]+)?$|^tunedModels/`)
	anthropicModel = regexp.MustCompile(`^claude-[A-Za-z0-9.-]+$`)
	// Vertex AI has an @ before the date of a version, and Bedrock puts the company
	// before the name and a version behind it.
	datedClaude = regexp.MustCompile(`(claude-[a-z0-9-]+?)(-v[0-9])?[@-]([0-9]{8})`)
)

// validateFamily refuses a model that is none of its provider's: kagent would take
// it, and each question of a person would fail. Behind a baseUrl a name may mean
// anything.
func (m Model) validateFamily() error {
	ok, is := true, ""
	switch {
	case m.BaseURL != "":
	case m.Provider == ProviderGeminiVertexAI, m.Provider == ProviderGemini:
		ok, is = googleModel.MatchString(m.Name) || tunedModel.MatchString(m.Name), "gemini-..."
	case m.Provider == ProviderAnthropic:
		ok, is = anthropicModel.MatchString(m.Name), "claude-..."
	case m.Provider == ProviderOpenAI:
		// The meter may have a gateway behind it, or a model server.
		ours := m.Meter.Enabled || !strings.Contains(m.Name, "/")
		ok, is = ours && !strings.HasPrefix(m.Name, "claude-") && !googleModel.MatchString(m.Name), "gpt-..."
	}
	if ok {
		return nil
	}
	hint, of := "", ModelProvider("")
	switch {
	case strings.Contains(strings.ToLower(m.Name), "claude"):
		of = ProviderAnthropic
	case strings.Contains(m.Name, "gpt"):
		of = ProviderOpenAI
	case googleModel.MatchString(m.Name):
		of = ProviderGeminiVertexAI + " or " + ProviderGemini
	}
	if of != "" && of != m.Provider {
		hint = fmt.Sprintf("; set model.provider to %s", of)
	}
	switch own := datedClaude.FindStringSubmatch(m.Name); {
	case len(own) == 4 && own[1]+"-"+own[3] != m.Name:
		hint += fmt.Sprintf("; Anthropic itself calls it %s-%s", own[1], own[3])
	case m.Provider == ProviderOpenAI && hint == "":
		hint = "; a model that somebody else serves by OpenAI's API needs model.baseUrl"
	}
	return fmt.Errorf("model.name %q is no model of model.provider %s, whose are called %s%s", m.Name, m.Provider, is, hint)
}

// otherProviders are what kagent knows beside ours, with the way to use them.
var otherProviders = map[string]string{
	"ollama":            "; Ollama speaks OpenAI's API: use OpenAI with its model.baseUrl, which ends in /v1",
	"azureopenai":       "; Azure speaks OpenAI's API: use OpenAI with the model.baseUrl https://<resource>.openai.azure.com/openai/v1",
	"anthropicvertexai": throughGateway,
	"bedrock":           throughGateway,
	"sapaicore":         throughGateway,
}

const throughGateway = "; reach it through a gateway that speaks OpenAI's API: use OpenAI with the gateway's model.baseUrl"

// validateURL says what of an http or https URL can't be used as a base for
// others, or nil. It never repeats credentials. Where it leads goes into the agents'
// NetworkPolicy, which the API server would refuse as a whole, and pods without a
// policy are open.
func validateURL(field, value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return fmt.Errorf("%s must be an http or https URL with a host, such as http://token-meter.whisperops-system.svc:8080", field)
	case u.User != nil:
		return fmt.Errorf("%s holds a user or a password: the input is no place for either", field)
	case u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return fmt.Errorf("%s %q must end with its path: what follows a ? or # would be lost", field, u.Redacted())
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || len(validation.IsValidPortNum(n)) > 0 {
			return fmt.Errorf("%s %q has port %s: a port is from 1 to 65535", field, u.Redacted(), p)
		}
	}
	if why := wrongHost(u.Hostname()); why != "" {
		return fmt.Errorf("%s %q %s", field, u.Redacted(), why)
	}
	return nil
}

// wrongHost says why pods can't be let out to a host, or "".
func wrongHost(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		switch {
		case ip.Zone() != "" || ip.Is4In6():
			return "names an address that no NetworkPolicy can hold: write it without a zone, and IPv4 as such"
		case slices.Contains(metadataServers, ip):
			return "is the clouds' metadata server, which hands out the node's own credentials"
		}
		return ""
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(labels) < 3 || labels[2] != "svc" {
		return ""
	}
	for _, l := range labels[:2] {
		if len(validation.IsDNS1123Label(l)) > 0 {
			return fmt.Sprintf("is in the cluster, where no Service and no namespace can be called %q", l)
		}
	}
	return ""
}
