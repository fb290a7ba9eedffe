import type { PyramidProgressElement } from 'pyramid-progress';
import type { Attributes } from 'pyramid-progress/types.js';
import type { DetailedHTMLProps, HTMLAttributes } from 'react';

type Props = DetailedHTMLProps<HTMLAttributes<PyramidProgressElement>, PyramidProgressElement> & Attributes;

declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      'pyramid-progress': Props;
    }
  }
}
