package platform

// LabelOp is how a LabelRequirement looks at a label.
type LabelOp string

// The operators of a label selector. "k=v" is LabelIn with one value.
const (
	LabelIn        LabelOp = "in"      // k=v, k in (a,b)
	LabelNotIn     LabelOp = "notin"   // k!=v, k notin (a,b): also without the label
	LabelExists    LabelOp = "exists"  // k
	LabelNotExists LabelOp = "!exists" // !k
)

// LabelRequirement is one condition of a label selector.
type LabelRequirement struct {
	Key    string // with its prefix, if it has one
	Op     LabelOp
	Values []string
}
