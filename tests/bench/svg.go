package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Measures of the plot, in pixels.
const (
	svgWidth  = 960
	svgLeft   = 340 // of labels
	svgRight  = 190 // of figures
	svgLine   = 18
	svgBar    = 11
	svgHead   = 64
	svgBottom = 30
)

// svgStyle is readable on white and on black; colours are those of Okabe and Ito, which the colour-blind tell apart.
const svgStyle = `<style>
text{font:12px ui-sans-serif,system-ui,sans-serif;fill:#24292f}
.title{font-size:15px;font-weight:600}.group{font-weight:600}.small{font-size:11px;fill:#57606a}
.met{fill:#0072b2}.missed{fill:#d55e00}.free{fill:#8c959f}
.grid{stroke:#d0d7de}.one{stroke:#57606a}.spread{stroke:#24292f}.want{stroke:#009e73;stroke-width:3}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.met{fill:#56b4e9}.missed{fill:#e69f00}
.grid{stroke:#3d444d}.one{stroke:#9198a1}.spread{stroke:#e6edf3}.want{stroke:#2fd6a5}}
</style>
`

// scale places ratios on a logarithmic axis.
type scale struct{ low, high float64 } // powers of two

// newScale spans all ratios, and at least from a half to twice.
func newScale(ratios []float64) scale {
	s := scale{-1, 1}
	for _, r := range ratios {
		s.low, s.high = min(s.low, math.Floor(math.Log2(r))), max(s.high, math.Ceil(math.Log2(r)))
	}
	return s
}

func (s scale) x(ratio float64) float64 {
	return svgLeft + (math.Log2(ratio)-s.low)/(s.high-s.low)*(svgWidth-svgLeft-svgRight)
}

// svg plots how many times faster than its best peer footbridge is in each row that has one.
func (r *report) svg() []byte {
	var groups []string
	rows := make(map[string][]*rowResult)
	var ratios []float64
	for _, row := range r.Rows {
		if row.Ratio.Median <= 0 {
			continue
		}
		if rows[row.Group] == nil {
			groups = append(groups, row.Group)
		}
		rows[row.Group] = append(rows[row.Group], row)
		ratios = append(ratios, row.Ratio.Min, row.Ratio.Max)
	}
	s := newScale(ratios)
	var body strings.Builder
	y := float64(svgHead)
	for _, group := range groups {
		y += svgLine * 1.2
		fmt.Fprintf(&body, `<text class="group" x="10" y="%.0f">%s</text>`+"\n", y, html.EscapeString(group))
		for _, row := range rows[group] {
			y += svgLine
			s.bar(&body, row, y)
		}
	}
	height := y + svgBottom

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" width="%d" height="%.0f" role="img" aria-label="footbridge beside its peers">`+"\n",
		svgWidth, height, svgWidth, height)
	b.WriteString(svgStyle)
	fmt.Fprintf(&b, `<text class="title" x="10" y="22">How many times the best peer’s figure footbridge reaches</text>`+"\n")
	fmt.Fprintf(&b, `<text class="small" x="10" y="40">%s. Bar: median of the rounds; line: smallest to largest; green: target</text>`+"\n",
		html.EscapeString(fmt.Sprintf("%s, %d processors, %s", r.Kernel, r.Processors, strings.Join(r.Congestion, ", "))))
	for power := s.low; power <= s.high; power++ {
		ratio := math.Exp2(power)
		class := "grid"
		if power == 0 {
			class = "one"
		}
		fmt.Fprintf(&b, `<line class="%s" x1="%.1f" x2="%.1f" y1="%d" y2="%.0f"/><text class="small" text-anchor="middle" x="%.1f" y="%d">%gx</text>`+"\n",
			class, s.x(ratio), s.x(ratio), svgHead, height-svgBottom/2, s.x(ratio), svgHead-6, ratio)
	}
	b.WriteString(body.String())
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// bar draws one row, whose text stands on y.
func (s scale) bar(b *strings.Builder, row *rowResult, y float64) {
	class, want := "free", 0.0
	for _, v := range row.Verdicts {
		if class == "free" {
			class = "met"
		}
		if !v.Met {
			class = "missed"
		}
		if v.Ratio > 0 && want == 0 {
			want = v.Ratio
		}
	}
	middle := y - 4
	from, to := s.x(1), s.x(row.Ratio.Median)
	fmt.Fprintf(b, `<text x="22" y="%.0f">%s</text>`, y, html.EscapeString(row.label()))
	fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%d"/>`, class, min(from, to), middle-svgBar/2.0, max(math.Abs(to-from), 1), svgBar)
	if row.Ratio.Min < row.Ratio.Max {
		fmt.Fprintf(b, `<line class="spread" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, s.x(row.Ratio.Min), s.x(row.Ratio.Max), middle, middle)
	}
	if want > 0 && math.Log2(want) >= s.low && math.Log2(want) <= s.high {
		fmt.Fprintf(b, `<line class="want" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, s.x(want), s.x(want), middle-svgBar/2.0-2, middle+svgBar/2.0+2)
	}
	fmt.Fprintf(b, `<text class="small" x="%d" y="%.0f">%s x %s</text>`+"\n", svgWidth-svgRight+12, y, figure(row.Ratio.Median), html.EscapeString(row.Best))
}

// label is the title without the group.
func (r *rowResult) label() string {
	if rest, ok := strings.CutPrefix(r.Title, r.Group+", "); ok {
		return rest
	}
	return strings.Replace(r.Title, ", "+r.Group, "", 1)
}
