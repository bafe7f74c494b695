package api

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

// Limits on metadata, as in Cloud Foundry.
const (
	maxMetadataName    = 63
	maxMetadataPrefix  = 253
	maxLabelValue      = 63
	maxAnnotationValue = 5000
	maxLabels          = 50
	maxAnnotations     = 200
)

var (
	metadataName   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	metadataPrefix = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$`)
)

// applyMetadata merges a patch into m: a null removes its key.
func applyMetadata(m *platform.Metadata, patch *v3.MetadataPatch) error {
	if patch == nil {
		return nil
	}
	var problems []string
	for _, key := range slices.Sorted(maps.Keys(patch.Labels)) {
		problems = append(problems, checkLabel(key, patch.Labels[key])...)
	}
	for _, key := range slices.Sorted(maps.Keys(patch.Annotations)) {
		problems = append(problems, checkAnnotation(key, patch.Annotations[key])...)
	}
	labels, annotations := mergeNullable(m.Labels, patch.Labels), mergeNullable(m.Annotations, patch.Annotations)
	if len(labels) > maxLabels {
		problems = append(problems, fmt.Sprintf("Metadata labels error: there are %d labels, at most %d are allowed", len(labels), maxLabels))
	}
	if len(annotations) > maxAnnotations {
		problems = append(problems, fmt.Sprintf("Metadata annotations error: there are %d annotations, at most %d are allowed", len(annotations), maxAnnotations))
	}
	if len(problems) > 0 {
		return &platform.Error{Kind: platform.KindInvalid, Msg: strings.Join(problems, ", ")}
	}
	m.Labels, m.Annotations = labels, annotations
	return nil
}

// newMetadata is the metadata of a resource that is made with a patch.
func newMetadata(patch *v3.MetadataPatch) (m platform.Metadata, err error) {
	err = applyMetadata(&m, patch)
	return m, err
}

// mergeNullable returns old with what changes sets, without what it sets to nil.
func mergeNullable(old map[string]string, changes map[string]*string) map[string]string {
	merged := maps.Clone(old)
	for k, v := range changes {
		switch {
		case v == nil:
			delete(merged, k)
		case merged == nil:
			merged = map[string]string{k: *v}
		default:
			merged[k] = *v
		}
	}
	return merged
}

func checkLabel(key string, value *string) []string {
	var problems []string
	if p := checkMetadataKey(key); p != "" {
		problems = append(problems, "Metadata label key error: "+p)
	}
	if value != nil {
		if p := checkLabelValue(*value); p != "" {
			problems = append(problems, fmt.Sprintf("Metadata label value error: label '%s' %s", key, p))
		}
	}
	return problems
}

func checkAnnotation(key string, value *string) []string {
	var problems []string
	if p := checkMetadataKey(key); p != "" {
		problems = append(problems, "Metadata annotation key error: "+p)
	}
	if value != nil && len(*value) > maxAnnotationValue {
		problems = append(problems, fmt.Sprintf("Metadata annotation value error: annotation '%s' is greater than %d characters", key, maxAnnotationValue))
	}
	return problems
}

func checkMetadataKey(key string) string {
	name := key
	if prefix, rest, ok := strings.Cut(key, "/"); ok {
		name = rest
		if len(prefix) > maxMetadataPrefix || !metadataPrefix.MatchString(prefix) {
			return fmt.Sprintf("prefix '%s' must be in valid dns format", prefix)
		}
		if prefix == "cloudfoundry.org" {
			return "prefix 'cloudfoundry.org' is reserved"
		}
	}
	switch {
	case name == "":
		return "key cannot be empty string"
	case len(name) > maxMetadataName:
		return fmt.Sprintf("key '%s' is greater than %d characters", name, maxMetadataName)
	case !metadataName.MatchString(name):
		return fmt.Sprintf("key '%s' contains invalid characters", name)
	}
	return ""
}

// checkLabelValue returns what is wrong with the value of a label.
func checkLabelValue(v string) string {
	switch {
	case v == "":
		return ""
	case len(v) > maxLabelValue:
		return fmt.Sprintf("value is greater than %d characters", maxLabelValue)
	case !metadataName.MatchString(v):
		return fmt.Sprintf("value '%s' contains invalid characters", v)
	}
	return ""
}

func presentMetadata(m platform.Metadata) v3.Metadata {
	out := v3.Metadata{Labels: m.Labels, Annotations: m.Annotations}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	return out
}
